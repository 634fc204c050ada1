"""The settings of a study: one declaration for control, URL, command line and validation.

A study's config is a frozen dataclass that derives from `Config` and whose fields are made by
`setting`. The metadata of a field says what a page shows (label, help, unit), what a link carries
(slug), what the command line offers (`--name` and its help) and what is valid (bounds, choices).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from functools import cache
from types import SimpleNamespace
from typing import (
    Any,
    ClassVar,
    Literal,
    Protocol,
    Self,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from flowviz.bounds import check_bounds, shortened, shown
from flowviz.registry import Registry, hint_at


class Dataclass(Protocol):
    """An object of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=Dataclass)

Kind = Literal["value", "data", "path", "own", "field", "seed"]
"""The kind of a setting. Each kind except "value" has its own control on the pages."""

Choices = Registry[Any] | Mapping[Any, str] | Callable[[], Mapping[Any, str]]
"""Valid values with their labels; a registry or a function is read each time."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is declared of one field of a config.

    Attributes:
        label: text above the control.
        help: one or two sentences; they may use Markdown.
        bounds: smallest and largest valid number; None for no bounds.
        choices: see `options`.
        offered: valid values that a menu offers; None for all choices.
        unit: unit of the number, such as "steps".
        slug: parameter of the URL; "" for the name of the field.
        kind: what the setting holds.
        max_chosen: number of values that the menu of a tuple accepts.
        display: whether the setting changes only the drawing, not the computed result.
        advanced: whether only the command line offers the setting, not the page.
        work: the power of the number, or of the sum of a tuple, with which the time of the
            computation grows, see `Config.work`; 0 if it does not. Every bounded whole number of
            a page declares it.
        sources: whether a data set can have a source, so that a page has a menu for it.
        name: name of the field; `settings` fills it in.
        type: type of the value, or of one element of a tuple; `settings` fills it in.
        several: whether the field is a tuple; `settings` fills it in.
        default: default value, or MISSING; `settings` fills it in.
    """

    label: str
    help: str = ""
    bounds: tuple[float, float] | None = None
    choices: Choices | None = None
    offered: tuple[Any, ...] | None = None
    unit: str = ""
    slug: str = ""
    kind: Kind = "value"
    max_chosen: int = 6
    display: bool = False
    advanced: bool = False
    work: float | None = None
    sources: bool = False
    name: str = ""
    type: Any = object
    several: bool = False
    default: Any = None

    @property
    def options(self) -> Mapping[Any, str] | None:
        """The valid values with their labels, in the order of a menu; None if any value is."""
        if self.choices is None:
            return None
        if isinstance(self.choices, Registry):
            return self.choices.labels
        return self.choices() if callable(self.choices) else self.choices

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return f"--{self.name.replace('_', '-')}"

    def check(self, config: object) -> None:
        """Validates this field of a config.

        Raises:
            ValueError: a value is out of bounds or not one of the choices.
        """
        value = getattr(config, self.name)
        if self.several and not isinstance(value, tuple | list):
            raise ValueError(f"{self.name} must be a list; got {shown(value)}.")
        values = value if self.several else (value,)
        if not values and self.default != ():
            raise ValueError(f"{self.name} needs one value or more; got none.")
        for item in values:
            if self.bounds is not None:
                check_bounds(SimpleNamespace(**{self.name: item}), **{self.name: self.bounds})
            options = self.options
            if options is not None and item not in tuple(options):  # which hashes nothing
                hint = hint_at(str(item), map(str, options))
                known = ", ".join(map(str, options))
                sentence = f"Unknown {self.name} {shown(item)}.{hint} There are: {known}."
                raise ValueError(shortened(sentence))


def setting(default: Any = MISSING, label: str = "", **declared: Any) -> Any:
    """A field of a config with its declaration.

    Args:
        default: default value; without it the value must be given.
        label: text above the control.
        declared: further attributes of `Setting`.
    """
    return field(default=default, metadata={"setting": Setting(label=label, **declared)})


@cache
def settings(kind: type) -> Mapping[str, Setting]:
    """The settings of a config class by the names of its fields, in their order."""
    hints = get_type_hints(kind)
    return {each.name: _complete(each, hints[each.name]) for each in fields(kind)}


def _complete(entry: Field[Any], hint: Any) -> Setting:
    declared: Setting = entry.metadata["setting"]
    several = get_origin(hint) is tuple
    return replace(
        declared,
        name=entry.name,
        slug=declared.slug or entry.name,
        type=get_args(hint)[0] if several else hint,
        several=several,
        default=entry.default,
    )


def part(kind: type[T], source: object, /, **values: Any) -> T:
    """An object of a dataclass, from the attributes of `source` with the names of its fields.

    `values` are further ones by the names of fields; they take precedence.
    """
    shared = {f.name: getattr(source, f.name) for f in fields(kind) if hasattr(source, f.name)}
    return kind(**shared | values)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base class of the configs of studies: names and numbers only, validated once.

    A config is hashable; it serves as a cache key, a URL and a command line. A subclass that
    validates more extends `__post_init__` and calls it here first.

    Raises:
        ValueError: a value is not valid; the message has the condition and the value.
    """

    def __post_init__(self) -> None:
        for each in settings(type(self)).values():
            each.check(self)

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """A config from those of `values` that it has; all others keep their defaults."""
        return cls(**{name: values[name] for name in settings(cls) if name in values})

    def computed(self) -> Self:
        """This config with the default of each setting that changes only the drawing."""
        return replace(self, **{s.name: s.default for s in self._display()})

    def chosen(self) -> Self:
        """This config with explicit names where a setting leaves the choice of a field open."""
        return self

    def part(self, kind: type[T], **more: Any) -> T:
        """A config of another dataclass, from the settings that both have and from `more`."""
        return part(kind, self, **more)

    def work(self, **sizes: float) -> float:
        """The time of the computation over that of the default config, an estimate.

        `sizes` replace the values of settings.
        """
        factor = 1.0
        for each in settings(type(self)).values():
            if each.work:
                value = sizes[each.name] if each.name in sizes else getattr(self, each.name)
                factor *= (_size(value) / _size(each.default)) ** each.work
        return factor

    def key(self) -> str:
        """A name of the computed result, the same in every process: 16 hexadecimal digits."""
        named = {"study": type(self).__qualname__, **asdict(self.computed())}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]

    def changed(self) -> dict[str, Any]:
        """The settings that are not at their defaults, by name."""
        values = {s.name: (getattr(self, s.name), s) for s in settings(type(self)).values()}
        return {name: value for name, (value, s) in values.items() if value != s.default}

    def _display(self) -> Iterator[Setting]:
        return (s for s in settings(type(self)).values() if s.display and s.default is not MISSING)


def _size(value: float | tuple[float, ...]) -> float:
    return sum(value) if isinstance(value, tuple) else value
