"""Silences at work: people add and expire them, and Alertmanager's are kept the same."""

from dataclasses import dataclass, replace
from datetime import datetime

from quell.adapters.actuators.silence import is_of_a_step
from quell.adapters.alertmanager import Alertmanager, RemoteSilence
from quell.incidents.errors import InvalidInput, NotFound, Refused
from quell.incidents.matcher import format_matchers, parse_matchers
from quell.incidents.silence import Silence, SilenceId, SilenceState, check_silence, expire_silence
from quell.incidents.timeline import Event
from quell.ports import Transaction
from tasks.resources import Resources

MARK = " [quell {id}]"  # at the end of the comment in Alertmanager: which silence of ours it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What an import or an export did, by id; `skipped` says why."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    unchanged: int = 0
    skipped: tuple[str, ...] = ()


def add_silence(
    res: Resources, matchers: str, *, ends_at: datetime, by: str, comment: str, starts_at: datetime | None = None
) -> Silence:
    """Mute from now, or from `starts_at`. Raises InvalidInput."""
    now = res.clock()
    with res.store.writing() as tx:
        silence = check_silence(
            Silence(
                id=SilenceId(f"SIL-{tx.next_number('SIL')}"),
                matchers=parse_matchers(matchers),
                starts_at=starts_at or now,
                ends_at=ends_at,
                created_by=by,
                comment=comment,
                created_at=now,
                updated_at=now,
            )
        )
        if ends_at <= now:
            raise InvalidInput(f"silence would end {ends_at.isoformat()}, which is over: give it a later end")
        tx.silences.put(silence)
        until = f"until {silence.ends_at:%Y-%m-%d %H:%M} UTC"
        _note(tx, silence, "silence added", by, f"{format_matchers(silence.matchers)} {until}: {comment}", now)
    return silence


def find_silence(tx: Transaction, id: str) -> Silence:
    """By our id or by Alertmanager's. Raises NotFound."""
    found = tx.silences.get(id) or tx.silences.get(id.upper())
    found = found or next(iter(tx.silences.find({"alertmanager": id}, limit=1)), None)
    if found is None:
        raise NotFound(f'silence "{id}" does not exist; `quell silence list` shows those that do')
    return found


def end_silence(res: Resources, id: str, *, by: str) -> Silence:
    """End it now; what it muted and still fires is placed within a moment. Raises NotFound, Refused."""
    now = res.clock()
    with res.store.writing() as tx:
        silence = find_silence(tx, id)
        if silence.state(now) is SilenceState.EXPIRED:
            raise Refused(f"silence {silence.id} ended {silence.ends_at:%Y-%m-%d %H:%M} UTC: nothing to expire")
        ended = expire_silence(silence, now)
        tx.silences.put(ended)
        _note(tx, ended, "silence expired", by, f"{format_matchers(ended.matchers)} is heard again", now)
    return ended


def import_silences(res: Resources) -> Exchange:
    """Take over Alertmanager's silences under their ids; those that came from here are recognised.

    Repeating is safe.
    """
    remote, now = _alertmanager(res).silences(), res.clock()
    added: list[str] = []
    changed: list[str] = []
    skipped: list[str] = []
    unchanged = 0
    with res.store.writing() as tx:
        for theirs in remote:
            if is_of_a_step(theirs):
                skipped.append(f"{theirs.id} belongs to a mitigation, which ends it")
                continue
            known = _known(tx, theirs)
            if known is None and theirs.is_expired:
                skipped.append(f"{theirs.id} is expired")
                continue
            try:
                news = check_silence(_merged(known, theirs, now))
            except InvalidInput as error:
                skipped.append(f"{theirs.id}: {error}")
                continue
            if news == known:
                unchanged += 1
                continue
            tx.silences.put(news)
            (added if known is None else changed).append(news.id)
            kind = "silence imported" if known is None else "silence changed"
            text = f"{format_matchers(news.matchers)} from Alertmanager, by {news.created_by}: {news.comment}"
            _note(tx, news, kind, "alertmanager", text, now)
    return Exchange(added=tuple(added), changed=tuple(changed), unchanged=unchanged, skipped=tuple(skipped))


def export_silences(res: Resources) -> Exchange:
    """Give Alertmanager every silence that is in force or to come, and end there what ended here. Repeating is safe."""
    remote, now = _alertmanager(res), res.clock()
    theirs = {silence.id: silence for silence in remote.silences()}
    added: list[str] = []
    changed: list[str] = []
    expired: list[str] = []
    unchanged = 0
    with res.store.reading() as tx:
        ours = tx.silences.find()
    for silence in ours:
        there = theirs.get(silence.alertmanager or "")
        if silence.state(now) is SilenceState.EXPIRED:
            if there is not None and not there.is_expired:
                remote.expire_silence(there.id)
                expired.append(silence.id)
        elif there is not None and not there.is_expired and _says_the_same(silence, there):
            unchanged += 1
        else:
            known_id = there.id if there is not None and not there.is_expired else ""
            _remember(res, silence, remote.put_silence(_for_alertmanager(silence, known_id)))
            (added if there is None else changed).append(silence.id)
    return Exchange(added=tuple(added), changed=tuple(changed), expired=tuple(expired), unchanged=unchanged)


def _remember(res: Resources, silence: Silence, id: str) -> None:
    """One transaction each: what Alertmanager took is known even if the next one fails."""
    with res.store.writing() as tx:
        current = tx.silences.get(silence.id)
        if current is not None:
            tx.silences.put(replace(current, alertmanager=id))


def _known(tx: Transaction, theirs: RemoteSilence) -> Silence | None:
    """By the id there, or by the mark that an export put into the comment."""
    found = next(iter(tx.silences.find({"alertmanager": theirs.id}, limit=1)), None)
    if found is not None:
        return found
    _, _, mark = theirs.comment.rpartition(" [quell ")
    ours = tx.silences.get(mark.removesuffix("]")) if mark.endswith("]") else None
    return ours if ours is not None and ours.matchers == theirs.matchers and not theirs.is_expired else None


def _merged(known: Silence | None, theirs: RemoteSilence, now: datetime) -> Silence:
    """What Alertmanager says counts; an end there ends it here too."""
    if known is None:
        return Silence(
            id=SilenceId(theirs.id),
            matchers=theirs.matchers,
            starts_at=theirs.starts_at,
            ends_at=theirs.ends_at,
            created_by=theirs.created_by,
            comment=theirs.comment,
            created_at=now,
            updated_at=theirs.updated_at or now,
            alertmanager=theirs.id,
        )
    mark = MARK.format(id=known.id)
    news = replace(
        known,
        starts_at=theirs.starts_at,
        ends_at=theirs.ends_at,
        comment=theirs.comment.removesuffix(mark),
        alertmanager=theirs.id,
    )
    return known if news == known else replace(news, updated_at=now, settled_at=None)


def _for_alertmanager(silence: Silence, id: str) -> RemoteSilence:
    mark = "" if silence.id == silence.alertmanager else MARK.format(id=silence.id)
    return RemoteSilence(
        id=id,
        matchers=silence.matchers,
        starts_at=silence.starts_at,
        ends_at=silence.ends_at,
        created_by=silence.created_by,
        comment=silence.comment + mark,
    )


def _says_the_same(silence: Silence, theirs: RemoteSilence) -> bool:
    """Alertmanager lets a silence that begins in the past begin at its receipt, and keeps milliseconds."""
    is_end_same = abs((silence.ends_at - theirs.ends_at).total_seconds()) < 0.01
    wanted = _for_alertmanager(silence, theirs.id)
    return is_end_same and set(silence.matchers) == set(theirs.matchers) and wanted.comment == theirs.comment


def _alertmanager(res: Resources) -> Alertmanager:
    c = res.config.connections
    if not c.alertmanager:
        raise InvalidInput("connections.alertmanager is not set in quell.toml: give the address of your Alertmanager")
    return Alertmanager(c.alertmanager, timeout=c.timeout)


def _note(tx: Transaction, silence: Silence, kind: str, by: str, text: str, now: datetime) -> None:
    tx.timeline.append(Event(incident=None, at=now, kind=kind, by=by, text=text, subject=silence.id))
