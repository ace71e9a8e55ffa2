"""Tests of the readers, editors and verifiers of ELF files."""

import pytest

# Helper modules have assertions, too; pytest explains only those that it has rewritten.
pytest.register_assert_rewrite("elf.support", "elf.matrix", "elf.edit.sample_pack")
