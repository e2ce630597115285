"""What a server's /object_info says of a node's inputs."""

from collections.abc import Iterator

CHOOSING = "COMFY_DYNAMICCOMBO_V3"
WIDGETS = {"BOOLEAN", "COMBO", CHOOSING, "FLOAT", "INT", "STRING"}
SEEDS = ("seed", "noise_seed")
GROWING = "COMFY_AUTOGROW_V3"


def input_specs(info: dict, given: dict | None = None) -> list[tuple[str, str, list]]:
    """(required or optional, name, [type, options]) of each input, in the schema's order.

    Behind a combo whose choices have inputs of their own come those, as NAME.OWN: of the choice that is among the
    `given` values, or the first; without `given` those of every choice.
    """
    specs = [(category, name, info["input"][category][name])
             for category in ("required", "optional")
             for name in info.get("input_order", {}).get(category, [])]
    return list({spec[1]: spec for each in specs for spec in _with_own(*each, given)}.values())


def _with_own(category: str, name: str, spec: list, given: dict | None) -> Iterator[tuple[str, str, list]]:
    yield category, name, spec
    if input_type(spec) == CHOOSING:
        options = input_options(spec)["options"]
        chosen = None if given is None else given.get(name, options[0]["key"])
        for option in options:
            if chosen in (None, option["key"]):
                for kind, own in option["inputs"].items():
                    for key, own_spec in own.items():
                        yield from _with_own(kind, f"{name}.{key}", own_spec, given)


def input_type(spec: list) -> str:
    """The type of an input; a list of choices, as old-style nodes state it, is a COMBO."""
    return "COMBO" if isinstance(spec[0], list) else spec[0]


def input_options(spec: list) -> dict:
    """Its default, limits, tooltip and so on."""
    return spec[1] if len(spec) > 1 else {}


def is_widget(spec: list) -> bool:
    return input_type(spec) in WIDGETS and not input_options(spec).get("forceInput")


def choices(spec: list) -> list:
    """What a combo offers; empty for other inputs, and for a list of files when there are none."""
    offered = spec[0] if isinstance(spec[0], list) else input_options(spec).get("options", [])
    return [choice["key"] if isinstance(choice, dict) else choice for choice in offered]


def default(spec: list) -> object:
    first = choices(spec)[:1] or [{"STRING": "", "BOOLEAN": False}.get(input_type(spec))]
    return input_options(spec).get("default", first[0])
