"""A notice in words: for a mailbox, in the language that the operator chose."""

from contextvars import copy_context

from service.notices.summary import Letter, Line, Summary, Why
from service.web import words
from service.web.words import _, said, several, when


def letter(summary: Summary, language: str, public_url: str) -> Letter:
    """A summary in `language`, with addresses below `public_url`; whoever asks keeps their own language."""

    def spoken() -> Letter:
        words.speak(language)
        lines = tuple(_line(line, public_url) for line in summary.lines)
        return Letter(language, _subject(summary), _body(summary, lines, public_url), lines)

    return copy_context().run(spoken)


def _line(line: Line, public_url: str) -> tuple[str, str, str]:
    matter = line.matter
    return said(matter.text), said(matter.cure), public_url + matter.path


def _subject(summary: Summary) -> str:
    if summary.test:
        return _("Video meetings: a test notice")
    if not summary.lines:
        return _("Video meetings: it works again")
    many = len(summary.lines) + summary.more
    return several("Video meetings: %(num)s thing needs you", "Video meetings: %(num)s things need you", many)


def _body(summary: Summary, lines: tuple[tuple[str, str, str], ...], public_url: str) -> str:
    headings: dict[Why, str] = {
        "new": _("New"),
        "reminder": _("Still so, as a reminder"),
        "open": _("Known and still open"),
    }
    parts = [_("This is a test notice. If you read it, notices reach you.")] if summary.test else []
    for why, heading in headings.items():
        mine = [pair for pair in zip(summary.lines, lines, strict=True) if pair[0].why == why]
        if mine:
            parts.append(_headed(heading))
        for line, (text, cure, url) in mine:
            since, helps = _("Since %(when)s.", when=when(line.matter.since)), _("What helps: %(cure)s", cure=cure)
            parts.append("\n".join((text, since, helps, url)))
    if summary.over:
        parts.append("\n".join((_headed(_("Works again")), *(f"- {name}" for _id, name in summary.over))))
    if summary.more:
        more = several("%(num)s more is listed in settings.", "%(num)s more are listed in settings.", summary.more)
        parts.append(more)
    if summary.last:
        parts.append(_("This is today's last notice; what happens next is shown in settings, and told tomorrow."))
    everything = f"{public_url}/notices"
    parts.append(_("All of it: %(url)s", url=everything))
    return "\n\n".join(parts) + "\n"


def _headed(heading: str) -> str:
    return f"{heading}\n{'-' * len(heading)}"
