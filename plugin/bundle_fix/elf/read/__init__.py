"""Reading ELF files: headers, segments, dynamic section, notes."""
