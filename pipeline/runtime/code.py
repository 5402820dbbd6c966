"""The code behind a result: the modules that determine what a step computes, and one hash over them.

Rules, manifests, resumed states and footnotes all take this hash, so they agree on what "the same code" means.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Writing, progress and scheduling cannot change a result, and settings reach a job through its command line.
WITHOUT_INFLUENCE = ("pipeline.runtime", "pipeline.config", "pipeline.plan")


def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _tokens(node: ast.AST) -> Iterator[str]:
    """What a syntax tree means: neither comments, docstrings and layout nor what Python versions add as empty."""
    yield type(node).__name__
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = value[0] if value else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                value = value[1:]
        if value is None or value == []:
            continue
        yield name
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                yield from _tokens(item)
            else:
                yield repr(item)
        yield ";"


@cache
def _module(path: Path) -> tuple[str, frozenset[str]]:
    """The hash of a module's code, and the names of the project's modules that it imports, in functions too."""
    tree, imports = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports.add(node.module)
            imports.update(f"{node.module}.{alias.name}" for alias in node.names)
    code = hashlib.sha256("\n".join(_tokens(tree)).encode()).hexdigest()
    return code, frozenset(name for name in imports if name.split(".")[0] == "pipeline")


@cache
def module_files(*modules: str) -> tuple[Path, ...]:
    """Sorted paths of ``modules`` and of all that they import from this project.

    Variant kinds are found at run time and not by an import: name those that a step uses.

    Raises:
        ValueError: there is no such module.
    """
    files: set[Path] = set()
    queue = list(modules)
    for name in queue:
        if _path(name) is None:
            raise ValueError(f"no module {name} in this project")
    while queue:
        name = queue.pop()
        path = _path(name)
        if path is None or path in files or name.startswith(WITHOUT_INFLUENCE):
            continue
        files.add(path)
        queue.extend(_module(path)[1])
    return tuple(sorted(files))


@cache
def digest(*modules: str) -> str:
    """SHA-256 of the code of ``modules`` and of all that they import from this project, hexadecimal.

    Comments, docstrings and layout do not count, nor does where the project lies. Arguments and errors are those of
    :func:`module_files`.
    """
    lines = [f"{path.relative_to(ROOT).as_posix()} {_module(path)[0]}\n" for path in module_files(*modules)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
