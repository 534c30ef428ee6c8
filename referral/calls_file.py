"""Converts the calls of `networks.toml` into the catalogue's values, and finds the faults that a table alone
does not show."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from .calls import (
    ELEMENT,
    REPORT,
    SOURCES,
    Answer,
    CallEntry,
    Each,
    Example,
    Find,
    OAuth,
    Param,
    Response,
    Setting,
    SettingSpec,
    Success,
    Trial,
    argument_of,
    formats_of,
    word_of,
)
from .calls_schema import (
    KEY,
    AnswerTable,
    CallTable,
    ExampleTable,
    ParamTable,
    SuccessTable,
)
from .networks_schema import NetworkTable, SettingTable

Path = tuple[str | int, ...]
_JSON: Final = ("json", "graphql")
_OF_GROUPS: Final = ("commission_group", "part.group", "part.amount", "item.group")


def call_faults(at: str, call: CallTable, landing: list[str]) -> Iterator[str]:
    """What is wrong with a call; `landing` are the names of the network's landing parameters."""
    for key in call.placeholders():
        if not KEY.fullmatch(key):
            yield f"{at}: {{{key}}} is not a settings key"
    taken: set[Path] = set()
    for param in call.all_params():
        path = (param.place, *_path(call, param))
        if any(path[: len(t)] == t or t[: len(path)] == path for t in taken):
            yield f"{at}.params.{param.name}: another parameter has the same path"
        taken.add(path)
        for name in param.of:
            if name not in landing:
                yield f"{at}.params.{param.name}.of: {name!r} is not one of the network's landing parameters"
        yield from _place_faults(f"{at}.params.{param.name}", call, param, path)


def _place_faults(at: str, call: CallTable, param: ParamTable, path: Path) -> Iterator[str]:
    if param.place == "url" and f"{{{param.name}}}" not in call.url:
        yield f"{at}: the address has no {{{param.name}}}"
    if param.place == "body" and call.encoding == "xml" and f"{{{param.name}}}" not in call.document:
        yield f"{at}: the document has no {{{param.name}}}"
    if not param.each or param.join:
        return
    numbered = "{n}" in param.name or "{i}" in param.name
    if call.encoding in _JSON and param.place == "body" and not (ELEMENT in path or numbered):
        yield f"{at}: it needs a list, such as `items[].sku`, or `join`"
    elif call.encoding not in (*_JSON, "path") and not numbered:
        yield f"{at}: it needs {{n}} or {{i}} in its name, or `join`"


def entry(network: NetworkTable, call: CallTable, base: Mapping[str, object]) -> CallEntry:
    """The call as a value; `base` are the fields of a report that every example starts from."""
    # Data that clew never has, and that the call requires, is added to `needs`.
    lacking = {word for p in call.all_params() if p.req for word in p.words if SOURCES[word] == "never"}
    return CallEntry(
        id=call.id,
        purposes=call.purposes,
        method=call.method,
        url=call.url,
        encoding=call.encoding,
        success=_success(call.success),
        params=tuple(_param(call, p) for p in call.all_params()),
        settings=settings_of(network, call),
        preferred=call.preferred,
        headers=call.headers,
        basic=(call.basic.user, call.basic.password) if call.basic else None,
        oauth=OAuth(**call.oauth.model_dump()) if call.oauth else None,
        document=call.document,
        batch=call.batch,
        without_items=call.without_items,
        keep=call.keep,
        job=call.job,
        find=Find(**call.find.model_dump()) if call.find else None,
        repeat=call.repeat,
        within=call.within,
        after=call.after,
        days=call.days,
        per_minute=call.per_minute,
        test=Trial(call.test.url, call.test.settings),
        needs=call.needs | lacking,
        examples=tuple(_example(e, base) for e in call.example),
    )


def linked(entries: Mapping[str, CallEntry], call: CallTable) -> CallEntry:
    """The call with those that it makes use of; it needs their settings, too."""
    found = entries[call.id]
    lookup, result = (entries[name] if name else None for name in (call.lookup, call.result))
    specs = {key: spec for one in (lookup, result) if one is not None for key, spec in one.settings.items()}
    for key, spec in found.settings.items():
        other = specs.get(key, spec)
        specs[key] = replace(spec, required=spec.required or other.required)
    return replace(found, lookup=lookup, result=result, settings=specs)


def settings_of(network: NetworkTable, call: CallTable) -> dict[str, SettingSpec]:
    """All settings keys that the call uses, and whether each is required."""
    required = dict.fromkeys(call.placeholders(), True)
    defaults: dict[str, Setting] = {}
    for param in call.all_params():
        needed = param.req and param.when != "test"
        if param.key:
            required[param.key] = required.get(param.key, False) or needed
        for source, _ in param.used:
            word = word_of(source)
            if word != "setting" and word not in _OF_GROUPS:
                continue
            key = argument_of(source) if word == "setting" else "commission_group"
            required[key] = required.get(key, False) or needed
            if param.default is not None:
                defaults[key] = param.default
    for key in call.test.settings:
        required.setdefault(key, False)
    specs: dict[str, SettingSpec] = {}
    for key, needed in required.items():
        special = network.settings.get(key, SettingTable())
        default = defaults.get(key) if special.default is None else special.default
        specs[key] = SettingSpec(key, needed, special.secret, default)
    return specs


def _answer(table: AnswerTable) -> Answer:
    return Answer(table.status, table.contains, table.lacks, table.pointer, table.equals)


def _success(table: SuccessTable) -> Success:
    return Success(
        ok=_answer(table),
        already=_answer(table.already) if table.already else None,
        later=_answer(table.later) if table.later else None,
        done=_answer(table.done) if table.done else None,
        silent=table.silent,
        each=Each(**table.each.model_dump()) if table.each else None,
    )


def _param(call: CallTable, table: ParamTable) -> Param:
    return Param(
        name=table.name.removeprefix("/"),
        source=table.word,
        argument=table.argument,
        required=table.req,
        format=table.format or formats_of(table.word)[0],
        path=_path(call, table),
        place=table.place,
        join=table.join,
        each=table.each,
        template=table.template,
        when=table.when,
        of=table.of,
        after=table.after,
        until=table.until,
        values=table.values,
        max_length=table.max_length,
        negative=table.negative,
        remove=table.remove,
        escape=table.escape,
        digest=table.digest,
        key=table.key,
        base64=table.base64,
        prefix=table.prefix,
        default=table.default,
    )


def _path(call: CallTable, param: ParamTable) -> Path:
    """The position in a JSON body; elsewhere the name."""
    if call.encoding not in _JSON or param.place != "body":
        return (param.name,)
    own = _steps(param.name.removeprefix("/"))
    if param.each and not param.join:
        # The innermost list is that of the items, or of the commission groups.
        last = max((n for n, step in enumerate(own) if step == 0), default=None)
        own = [ELEMENT if n == last else step for n, step in enumerate(own)]
    if not call.envelope or param.name.startswith("/"):
        return tuple(own)
    around = _steps(call.envelope)
    last = max((n for n, step in enumerate(around) if step == 0), default=None)
    return (*(REPORT if n == last else step for n, step in enumerate(around)), *own)


def _steps(name: str) -> list[str | int]:
    steps: list[str | int] = []
    for part in name.split("."):
        key = part.removesuffix("[]")
        steps += [key] if key else []
        steps += [0] if part.endswith("[]") else []
    return steps


def _example(table: ExampleTable, base: Mapping[str, object]) -> Example:
    return Example(
        reports=tuple({**base, **report} for report in table.reports),
        settings=table.settings,
        groups=table.groups,
        url=table.call.url,
        headers=table.call.headers,
        body=table.call.body,
        source=table.source,
        now=table.now,
        token=table.token,
        kept=table.kept,
        test=table.test,
        responses=tuple(Response(r.status, r.body, tuple(r.outcomes), r.kept) for r in table.responses),
    )
