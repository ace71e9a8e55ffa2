"""BF414: libraries that need static TLS and are opened at run time.

Source: glibc's elf/dl-tls.c, _dl_tls_static_surplus_init, and elf/dl-reloc.c,
_dl_try_allocate_static_tls: when a program starts, the loader reserves static TLS for libraries
that dlopen loads later. Its size is 1664 bytes with the default tunables, of which 512 are
glibc.rtld.optional_static_tls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.libc import Libc, is_part_of_libc
from bundle_fix.policy.severity import Severity

SURPLUS = 1664
"""Bytes that glibc reserves for the static TLS of all libraries opened at run time."""
OPTIONAL = 512
"""Bytes up to which a library is not reported: other libraries leave so much, as a rule."""


def find_static_tls_at_run_time(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the libraries opened at run time whose static TLS may not fit."""
    reported: set[str] = set()
    for plugin in context.plugins:
        sizes = _read_static_tls(context, plugin) if _is_opened(context, plugin) else {}
        total = sum(sizes.values())
        largest = max(sizes, key=lambda path: sizes[path], default="")
        if total <= OPTIONAL or largest in reported:
            continue
        reported.add(largest)
        opened = "it" if plugin == largest else plugin
        fits = total <= SURPLUS
        others = "" if len(sizes) == 1 else f" (with {', '.join(sorted(sizes.keys() - {largest}))})"
        yield rule.make_finding(
            largest,
            f"needs {total} bytes of static TLS{others} when {opened} is opened at run time; glibc"
            f" reserves {SURPLUS} bytes for all such libraries",
            severity=Severity.NOTE if fits else _get_severity(context, plugin),
            needed_by=plugin,
            sizes=dict(sizes),
            limit=SURPLUS,
        )


def _get_severity(context: Context, plugin: str) -> Severity:
    if context.openers.find_by_name(plugin):
        return Severity.ERROR
    return context.get_load_severity(plugin)


def _is_opened(context: Context, plugin: str) -> bool:
    """Return whether dlopen loads a library; one with a soname may also be linked or preloaded."""
    image = context.bundle.images[plugin]
    names = context.names_by_library.get(plugin, set())
    is_named = context.openers.find_by_name(plugin) or not names.isdisjoint(context.policy.dlopen)
    is_glibc = context.get_libc(plugin) is Libc.GLIBC
    return is_glibc and (image.soname is None or bool(is_named))


def _read_static_tls(context: Context, plugin: str) -> Mapping[str, int]:
    """Return the size of static TLS of each object of the pack that ``plugin`` brings, by path."""
    sizes: dict[str, int] = {}
    for loaded in context.plugins[plugin].list_bundled_objects():
        image = loaded.image
        is_new = image is not None and loaded.path not in context.loaded_at_start
        if image is not None and is_new and not is_part_of_libc(image.soname or ""):
            size = compute_static_tls(image)
            if size:
                sizes[loaded.label] = size
    return sizes


def compute_static_tls(image: Image) -> int:
    """Return the bytes of static TLS that an object needs; 0 if its TLS may be dynamic."""
    if not (image.find_value(c.DT_FLAGS) or 0) & c.DF_STATIC_TLS:
        return 0
    segments = [segment for segment in image.segments if segment.type == c.PT_TLS]
    return sum(-(-s.memsz // max(s.align, 1)) * max(s.align, 1) for s in segments)


RULES = (
    Rule(
        "BF414", "static-tls-at-run-time", Severity.ERROR,
        "A library that is opened at run time needs more static TLS than the loader reserves.",
        "dlopen() fails: 'cannot allocate memory in static TLS block'. Below the limit it depends"
        " on the libraries that were opened before.",
        "Build the library without -ftls-model=initial-exec, link the program with it, or set"
        " GLIBC_TUNABLES=glibc.rtld.optional_static_tls=SIZE in a start script.",
        "plugins/codec.so needs libjemalloc.so.2, which was built with the initial-exec model and"
        " has 2,800 bytes of thread-local data.",
        find_static_tls_at_run_time,
    ),
)  # fmt: skip
