"""The code behind a result: the modules that determine what a step computes, and one hash over them.

Rules, manifests, resumed states and footnotes all take this hash, so they agree on what "the same code" means.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Writing, progress and scheduling cannot change a result, and settings reach a job through its command line.
WITHOUT_INFLUENCE = ("pipeline.runtime", "pipeline.config", "pipeline.plan")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _read(node: ast.AST, tokens: list[str], imports: set[str]) -> None:
    """Add what a syntax tree means to ``tokens``, and the names that it imports to ``imports``.

    Neither comments, docstrings and layout count nor what Python versions add as empty. Each start of Snakemake reads
    the whole project: loops are plain, and nothing is yielded.
    """
    kind = type(node)
    tokens.append(kind.__name__)
    if kind is ast.Import:
        imports.update(alias.name for alias in node.names)
    elif kind is ast.ImportFrom and node.module:
        imports.add(node.module)
        imports.update(f"{node.module}.{alias.name}" for alias in node.names)
    for name in node._fields:
        value = getattr(node, name, None)
        if name == "body" and kind in DOCUMENTED:
            first = value[0] if value else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                value = value[1:]
        if value is None or value == []:
            continue
        tokens.append(name)
        for item in value if type(value) is list else (value,):
            if isinstance(item, ast.AST):
                _read(item, tokens, imports)
            else:
                tokens.append(repr(item))
        tokens.append(";")


@cache
def _module(path: Path) -> tuple[str, frozenset[str]]:
    """The hash of a module's code, and the names of the project's modules that it imports, in functions too."""
    tokens, imports = [], set()
    _read(ast.parse(path.read_text(encoding="utf-8")), tokens, imports)
    code = hashlib.sha256("\n".join(tokens).encode()).hexdigest()
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
