"""YAML without its traps: ``on`` and ``no`` are text, ``1e-2`` is a number, dates stay as written, no key is there twice.

The types are those of YAML 1.2's core schema (yaml.org/spec/1.2.2, section 10.3), which agree with JSON's; references
between parts of the file are refused.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from nid_plugins.errors import ArtefactError, MissingExtraError, SettingError

_TYPES = {
    "null": (r"null|Null|NULL|~|", ("n", "N", "~", "")),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
"""Tag to pattern and possible first characters, in the order they are tried."""


def write_yaml(spec: Any) -> str:
    """Return YAML text of mappings, lists, text and numbers, keys in their order.

    Raises:
        MissingExtraError: PyYAML is not installed.
    """
    import_yaml()
    import yaml

    text: str = yaml.dump(spec, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=110, indent=2)
    return text


def import_yaml() -> None:
    """Check that PyYAML is there.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import yaml  # noqa: F401 - whether it is there
    except ImportError as error:
        raise MissingExtraError(
            "PyYAML is not installed",
            received=str(error),
            hint="pip install 'nid-plugins[ab]', or keep the design in a .json file",
        ) from error


def read_yaml(text: str, where: str) -> Any:
    """Return what YAML text holds.

    Args:
        text: The text.
        where: Its file, for errors.

    Raises:
        ArtefactError: Not YAML, or with references; the line is named.
        SettingError: A key is there twice.
        MissingExtraError: PyYAML is not installed.
    """
    import_yaml()
    import yaml

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506 - a safe loader, with fewer types
    except RecursionError:
        raise ArtefactError("the design is nested too deeply", received=where) from None
    except yaml.YAMLError as error:
        raise ArtefactError(
            f"the design is not YAML: {' '.join(str(error).split())}",
            received=where,
            expected="YAML, as Design.save writes it",
        ) from error


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        # Its own table, so that nobody else's loading changes.
        yaml_implicit_resolvers: Any = {}  # noqa: RUF012 - as PyYAML's class has it

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark
                raise yaml.composer.ComposerError(None, None, "references are not taken", mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[Any] = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, str):
                    raise yaml.constructor.ConstructorError(
                        None, None, f"a key that is not text: {key!r}", key_node.start_mark
                    )
                if key in seen:
                    line = key_node.start_mark.line + 1
                    raise SettingError("the key is there twice", field=key, received=f"again in line {line}")
                seen.add(key)
            return super().construct_mapping(node, deep=deep)

    _add_types(Loader)
    Loader.add_constructor("tag:yaml.org,2002:int", _whole)
    Loader.add_constructor("tag:yaml.org,2002:float", _float)
    return Loader


@cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Quotes text that this reader, or PyYAML's own, would take for something else."""

    def text(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    _add_types(Dumper)
    Dumper.add_representer(str, text)
    return Dumper


def _add_types(table: Any) -> None:
    for tag, (pattern, first) in _TYPES.items():
        resolver = re.compile(rf"^(?:{pattern})$")
        table.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", resolver, list(first))


def _whole(loader: Any, node: Any) -> int:
    text = str(loader.construct_scalar(node))
    try:
        return int(text)  # decimal: a leading 0 makes no octal of it
    except ValueError:
        raise _not_a(node, text, "whole number") from None


def _float(loader: Any, node: Any) -> float:
    text = str(loader.construct_scalar(node)).lower()
    try:
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise _not_a(node, text, "number") from None


def _not_a(node: Any, text: str, what: str) -> Exception:
    import yaml

    error: Exception = yaml.constructor.ConstructorError(
        None, None, f"not a {what}: {text[:50]!r}", node.start_mark
    )
    return error
