"""What the loader maps, and the steps that led to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from msgspec import Struct, field

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.host import Environment, Host
from bundle_fix.loader.hosts.rtld import Loader
from bundle_fix.loader.hosts.view import View

BUNDLE, HOST, MISSING = "bundle", "host", "missing"


class Outcome(Enum):
    """The result of one step of a search; the values are codes for JSON."""

    FOUND = "found"
    EXPECTED = "expected"
    ON_HOST = "on_host"
    HOST_COPY = "host_copy"
    NOT_EXPECTED = "not_expected"
    MISSING_INTERPRETER = "missing_interpreter"
    MAIN_INTERPRETER = "interpreter"
    ANY_COPY = "any_copy"
    NOT_THERE = "not_there"
    NOT_LISTED = "not_listed"
    NOT_SEARCHED = "not_searched"
    NO_DIRECTORY = "no_directory"
    NO_DIRECTORY_IN_PACK = "no_directory_in_pack"
    UNRESOLVED_DIRECTORY = "unresolved_directory"
    UNRESOLVED_SYMLINK = "unresolved_symlink"
    SYMLINK_LOOP = "symlink_loop"
    OUTSIDE_PACK = "outside_pack"
    UNREADABLE = "unreadable"
    OTHER_MACHINE = "other_machine"
    LOADER_FAILS = "loader_fails"
    WORKING_DIRECTORY = "working_directory"
    VARIES_BY_HOST = "varies_by_host"
    SECURE_EXECUTION = "secure_execution"
    OTHER_TOKEN = "other_token"  # noqa: S105 (no password)


OUTCOME_TEXTS: Mapping[Outcome, str] = {
    Outcome.FOUND: "found",
    Outcome.EXPECTED: "expected there",
    Outcome.ON_HOST: "on the host",
    Outcome.HOST_COPY: "the host's copy is found",
    Outcome.NOT_EXPECTED: "no host is expected to have it",
    Outcome.MISSING_INTERPRETER: "the host has no such interpreter: nothing starts",
    Outcome.MAIN_INTERPRETER: "the program's interpreter",
    Outcome.ANY_COPY: "whoever sets it may have any copy there",
    Outcome.NOT_THERE: "not there",
    Outcome.NOT_LISTED: "not listed",
    Outcome.NOT_SEARCHED: "not searched: -z nodefaultlib",
    Outcome.NO_DIRECTORY: "no such folder",
    Outcome.NO_DIRECTORY_IN_PACK: "no such folder in the pack",
    Outcome.UNRESOLVED_DIRECTORY: "{detail}",
    Outcome.UNRESOLVED_SYMLINK: "a link that {detail}",
    Outcome.SYMLINK_LOOP: "a link that {detail}",
    Outcome.OUTSIDE_PACK: "outside the pack: the target may have anything there",
    Outcome.UNREADABLE: "{detail}",
    Outcome.OTHER_MACHINE: "passed over: {detail}",
    Outcome.LOADER_FAILS: "{detail}: the loader gives up here",
    Outcome.WORKING_DIRECTORY: "depends on the working directory of the process",
    Outcome.VARIES_BY_HOST: "differs from host to host",
    Outcome.SECURE_EXECUTION: "ignored: the program is set-uid or set-gid",
    Outcome.OTHER_TOKEN: "ignored: musl knows no token but $ORIGIN",
}
"""The sentence of each outcome; ``{detail}`` is the step's own detail."""


class SearchStep(Struct, frozen=True):
    """One place that the loader looks at.

    ``place`` is the directory as a reader would write it, ``via`` the rule that named it,
    ``entry`` the RPATH or RUNPATH entry as it stands in the file, ``owner`` the object that has the
    entry if that is not the one that needs the name, ``detail`` completes the outcome's sentence.
    """

    place: str
    via: str
    outcome: Outcome
    entry: str = ""
    owner: str = ""
    detail: str = ""

    @property
    def verdict(self) -> str:
        """The outcome as a sentence."""
        return OUTCOME_TEXTS[self.outcome].format(detail=self.detail)


class LoadedObject(Struct, frozen=True):
    """An object that the loader maps, or fails to find.

    ``path`` is relative to the pack for origin ``bundle``, absolute for ``host``, None for
    ``missing``. ``directory`` is what ``$ORIGIN`` means in it, an absolute path in the process's view:
    the folder in which it was found, which for a link is the link's (dl-object.c), but for the
    program the file's own. ``real_path`` is the object's path in that view, without links.
    """

    name: str
    path: str | None
    origin: str
    via: str
    needed_by: str = ""
    trace: tuple[SearchStep, ...] = ()
    directory: str = ""
    image: Image | None = None
    loaded_by: LoadedObject | None = None
    real_path: str | None = None

    def walk_load_chain(self) -> Iterator[LoadedObject]:
        """The object, what caused it to load, and so on up to the program."""
        link: LoadedObject | None = self
        while link is not None:
            yield link
            link = link.loaded_by

    @property
    def label(self) -> str:
        """What a reader knows it by: its path, or its name where it was not found."""
        return self.path or self.name


class ProcessContext(Struct, frozen=True):
    """Where a process runs: what it sees, its loader, its environment.

    ``secure`` is secure-execution mode, in which set-uid and set-gid programs run.
    """

    view: View
    host: Host
    loader: Loader
    environment: Environment
    main: LoadedObject
    secure: bool
    rpath_owners_by_id: dict[int, tuple[LoadedObject, ...]] = field(default_factory=dict)
    """By object (its id), those whose RPATH serves its needs: worked out once for each."""

    def find_rpath_owners(self, mapped: LoadedObject) -> tuple[LoadedObject, ...]:
        """The objects with an RPATH among ``mapped``, what loaded it, and so on, and the program.

        An object whose list says the same in the same folder as a nearer one's is left out.
        """
        todo: list[LoadedObject] = []
        for link in mapped.walk_load_chain():
            if id(link) in self.rpath_owners_by_id:
                break
            todo.append(link)
        else:
            # What dlopen() opens is served by the program's RPATH as well, whoever opens it.
            if not any(link is self.main for link in todo):
                todo.append(self.main)
        for link in reversed(todo):
            above = self.rpath_owners_by_id.get(id(link.loaded_by), ()) if link.loaded_by else ()
            if link.loaded_by is None and link is not self.main:
                above = self.rpath_owners_by_id.get(id(self.main), ())
            self.rpath_owners_by_id[id(link)] = _prepend_own_rpath(link, above)
        return self.rpath_owners_by_id[id(mapped)]


def _prepend_own_rpath(
    link: LoadedObject, above: tuple[LoadedObject, ...]
) -> tuple[LoadedObject, ...]:
    image = link.image
    if image is None or image.runpath is not None or not image.rpath:
        return above
    same = (image.rpath, link.directory)
    others = [o for o in above if o.image is None or (o.image.rpath, o.directory) != same]
    return (link, *others)
