"""The PEP 517 build backend by a short name: ``build-backend = "bundle_fix.build"``."""

from bundle_fix.integrations.pep517 import __getattr__ as __getattr__
from bundle_fix.integrations.pep517 import build_wheel as build_wheel
