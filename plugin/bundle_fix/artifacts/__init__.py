"""Artifacts: tarballs and folders, read into trees and written from them."""
