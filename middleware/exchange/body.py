"""The steps for the response's body and its end: bytes go through the editor, and release the held head.

A chunk may be a `memoryview` of a buffer that is reused. The returned part of it must be sent before that;
what is kept longer is copied.
"""

from ...injector.csp_hosts import Needed
from ...injector.edit import Broken, PageEdit
from ...injector.heads import ResponseHead
from ...injector.reasons import Reason
from .facts import note_page
from .record import Out, Record, State
from .response import edited, with_reason

Chunk = bytes | memoryview

_NOTHING = memoryview(b"")


def pass_on(record: Record, chunk: Chunk) -> tuple[Out, State]:
    """Release a chunk unchanged."""
    return Out(None, chunk), record.state


def decide(record: Record, chunk: Chunk) -> tuple[Out, State]:
    """Hold the chunk (the editor bounds what is held), or release the head and the bytes held."""
    editor = record.editor
    assert editor is not None
    try:
        body, rest = _feed(editor, chunk)
        if editor.verdict == "undecided":
            record.held_body.append(bytes(chunk))
            return Out(), State.HOLDING
        head, state = _decided(record, editor)
    except Exception as error:
        record.note_fault(error)
        return _unchanged(record, chunk), State.PASSING
    record.held_head, record.held_body = None, []
    return Out(head, body, rest), state


def edit(record: Record, chunk: Chunk) -> tuple[Out, State]:
    """Release the chunk, edited and encoded."""
    assert record.editor is not None
    try:
        return Out(None, *_feed(record.editor, chunk)), record.state
    except Exception as error:
        return _broken(record, error)


def copy(record: Record, chunk: Chunk) -> tuple[Out, State]:
    """Release the chunk unchanged, and keep a copy."""
    assert record.editor is not None
    try:
        return Out(None, *_feed(record.editor, chunk)), record.state
    except Exception as error:
        record.note_fault(error)
        record.editor = None
        return Out(None, chunk), State.PASSING


def release(record: Record, _: None) -> tuple[Out, State]:
    """Release what is held unchanged, because a message other than the body must follow the head."""
    record.outcome = ("pass", Reason.NO_BODY)
    out = _unchanged(record, b"")
    assert out.head is not None
    out.head = with_reason(record, out.head)
    return out, State.PASSING


def nothing_held(record: Record, _: None) -> tuple[Out, State]:
    """Nothing is held: a message other than the body may be sent."""
    return Out(), record.state


def end_undecided(record: Record, _: None) -> tuple[Out, State]:
    """Release the head and the bytes held: the body is complete, so the verdict is known."""
    editor = record.editor
    assert editor is not None
    try:
        body = editor.end()
        head, _state = _decided(record, editor)
        out = Out(head, body)
    except Exception as error:
        record.note_fault(error)
        out = _unchanged(record, b"")
    _note_facts(record, editor)
    return out, State.DONE


def end_edited(record: Record, _: None) -> tuple[Out, State]:
    """Release what the editor and the encoder still hold."""
    assert record.editor is not None
    try:
        body = record.editor.end()
    except Exception as error:
        return _broken(record, error)
    _note_facts(record, record.editor)
    return Out(None, body), State.DONE


def end_copied(record: Record, _: None) -> tuple[Out, State]:
    """Ask for the facts in the copy to be read."""
    assert record.editor is not None
    _note_facts(record, record.editor)
    return Out(), State.DONE


def end_passed(record: Record, _: None) -> tuple[Out, State]:
    """Nothing is left to send."""
    return Out(), State.DONE


def _feed(editor: PageEdit, chunk: Chunk) -> tuple[bytes, Chunk]:
    if isinstance(chunk, bytes):
        return editor.feed(chunk), _NOTHING
    return editor.borrowed(chunk)


def _decided(record: Record, editor: PageEdit) -> tuple[ResponseHead, State]:
    """The held head, changed by the editor's verdict, and the next state."""
    head = record.held_head
    assert head is not None
    if editor.verdict == "edit":
        return edited(record, head, editor.added), State.EDITING
    record.outcome = ("pass", editor.reason)
    return with_reason(record, head), State.COPYING


def _unchanged(record: Record, chunk: Chunk) -> Out:
    """The head and all bytes so far, unchanged. Nothing is edited afterwards."""
    out = Out(record.held_head, b"".join((*record.held_body, chunk)))
    record.held_head, record.held_body, record.editor = None, [], None
    return out


def _broken(record: Record, error: Exception) -> tuple[Out, State]:
    """Bytes of the edited page were sent: neither the original bytes nor a proper end can follow."""
    record.cause = error
    if isinstance(error, Broken):
        record.outcome = ("broken", Reason.CODING)
    else:
        record.fault, record.outcome = error, ("broken", Reason.FAULT)
    return Out(), State.BROKEN


def _note_facts(record: Record, editor: PageEdit) -> None:
    try:
        if record.metas is not None and not record.metas.extends and record.metas.forbidden:
            record.forbidden = _joined(record.forbidden, record.metas.forbidden)
        if editor.gap and record.is_order_page:
            record.unread = editor.gap
        if page := editor.copy:
            note_page(record, page)
    except Exception as error:
        record.fault = error


def _joined(first: Needed, second: Needed) -> Needed:
    """What either forbids, by directive."""
    names = {**first, **second}
    return {name: tuple(dict.fromkeys((*first.get(name, ()), *second.get(name, ())))) for name in names}
