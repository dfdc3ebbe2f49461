"""Recognise local times without a zone, by what the clock changes of a zone do to them."""

import datetime
import zoneinfo
from typing import NamedTuple

import numpy as np
import pandas as pd

ZONES = (  # one for each calendar of clock changes, by the number of their markets' users
    "America/New_York",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Athens",
    "Australia/Sydney",
    "America/Sao_Paulo",
    "Pacific/Auckland",
    "America/Santiago",
    "America/Mexico_City",
    "Asia/Jerusalem",
    "Europe/Moscow",
)
MAX_CHANCE = 0.01  # that missing hours lie at the clock changes of one of the zones by accident
MIN_OPENINGS = 20  # of sessions in summer and in winter, to tell whether they move
MIN_SHARE = 0.8  # of the openings that are at the usual time of day
MIN_FOREIGN_OPENINGS = 200  # of sessions, so that the weeks are there in which only one of two zones has summer time
MIN_FOREIGN_SHARE = 0.98  # of the openings that are at one time of day in a market's own zone
NIGHT = 6 * 3600  # seconds; a longer step separates sessions
HOUR = 3600


class Session(NamedTuple):
    """Usual local times of a market that keeps them in summer and winter, and that no market keeps in UTC.

    openings: seconds of the day at which the first bar may open.
    closings: first and last hour of the day at which the last bar may open.
    """

    zone: str
    openings: tuple[int, ...]
    closings: tuple[int, int]


SESSIONS = (
    Session("America/New_York", (9 * HOUR, 9 * HOUR + HOUR // 2), (15, 16)),
    Session("America/New_York", (4 * HOUR,), (18, 20)),  # with trading before and after the regular session
    Session("America/New_York", (17 * HOUR, 18 * HOUR), (16, 17)),  # currencies and futures, once a week
    Session("America/Chicago", (8 * HOUR, 8 * HOUR + HOUR // 2), (14, 15)),
    Session("America/Chicago", (17 * HOUR,), (15, 16)),
    Session("Europe/London", (8 * HOUR,), (15, 16)),
    Session("Europe/Berlin", (9 * HOUR,), (16, 17)),
    Session("Australia/Sydney", (10 * HOUR,), (15, 16)),
)


def zone_of_repeats(times: np.ndarray) -> str | None:
    """Find a zone whose clocks are turned back over all of `times`, so that they come twice.

    Args:
        times: datetime64[s] (N,), local.
    """
    return next((zone for zone in ZONES if all(_is_ambiguous(time, zone) for time in _to_datetimes(times))), None)


def zone_of_missing_hours(times: np.ndarray) -> str | None:
    """Find a zone whose clocks are turned forward over hours that `times` lacks, too often for chance.

    Counts single missing hours between two bars. An hour that is there excludes the zone.

    Args:
        times: datetime64[s] (N,), local or UTC, increasing.
    """
    steps = np.diff(times).astype(np.int64)
    single = times[:-1][steps == 2 * HOUR] + np.timedelta64(HOUR, "s")
    chance = len(single) / max(1, len(single) + int((steps == HOUR).sum()))
    if chance > MAX_CHANCE:  # hours are missing all the time
        return None
    for zone in ZONES:
        missing = sum(_is_skipped(time, zone) for time in _to_datetimes(single))
        if missing and chance**missing * len(ZONES) <= MAX_CHANCE and not _has_skipped_hours(times, zone):
            return zone
    return None


def zone_of_sessions(times: np.ndarray) -> str | None:
    """Find a zone in whose local time the sessions open at the same time of day, in summer and in winter.

    In UTC they would move by an hour with the clocks.

    Args:
        times: datetime64[s] (N,), local or UTC, increasing.
    """
    night = np.flatnonzero(np.diff(times).astype(np.int64) > NIGHT)
    if len(night) < 2 * MIN_OPENINGS:
        return None
    openings, closings = times[night + 1], times[night]
    usual_close = int(np.bincount(closings.astype("datetime64[h]").astype(np.int64) % 24).argmax())
    for session in SESSIONS:
        first, last = session.closings
        if first <= usual_close <= last and _opening_all_year(openings, session.zone) in session.openings:
            return session.zone
    return None


def zone_of_foreign_sessions(times: np.ndarray) -> str | None:
    """Find a zone from which sessions open at one local time of another zone, as they do from UTC in none.

    So is a market of New York in the time of Berlin: their clocks change in different weeks. Zones of the same changes are told
    apart by the hours of `SESSIONS`, where the market keeps them.

    Args:
        times: datetime64[s] (N,), local or UTC, increasing.
    """
    openings = times[1:][np.diff(times).astype(np.int64) > NIGHT]
    if len(openings) < MIN_FOREIGN_OPENINGS or any(_one_second(openings, market) is not None for market in ("UTC", *ZONES)):
        return None
    usual = {(session.zone, second) for session in SESSIONS for second in session.openings}
    fitting: list[str] = []
    for zone in ZONES:
        utc = _to_utc(openings, zone)
        seconds = [(market, _one_second(utc, market)) for market in ZONES]
        if not usual.isdisjoint(seconds):
            return zone
        fitting += [zone] if any(second is not None for _, second in seconds) else []
    return fitting[0] if fitting else None


def _one_second(utc: np.ndarray, zone: str) -> int | None:
    """Return the one second of the day that times in UTC are in `zone`, but for a few; None where they are at several."""
    local = pd.DatetimeIndex(utc).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    seconds, counts = np.unique(local.values.astype("datetime64[s]").astype(np.int64) % 86400, return_counts=True)
    return int(seconds[counts.argmax()]) if counts.max() >= MIN_FOREIGN_SHARE * len(utc) else None


def _to_utc(local: np.ndarray, zone: str) -> np.ndarray:
    times = pd.DatetimeIndex(local)
    return times.tz_localize(zone, ambiguous=np.ones(len(times), bool), nonexistent="shift_forward").tz_convert(None).values


def _opening_all_year(openings: np.ndarray, zone: str) -> int | None:
    """Return the usual second of the day at which sessions open, None where summer and winter of the zone differ in it."""
    offset = (openings - _to_utc(openings, zone)).astype("timedelta64[s]").astype(np.int64)
    is_summer = offset > offset.min()
    usual = {_usual_second(openings[rows]) for rows in (is_summer, ~is_summer)}
    return usual.pop() if len(usual) == 1 else None


def _usual_second(openings: np.ndarray) -> int | None:
    """Return the second of the day at which nearly all sessions open, None where there is none or too few sessions."""
    seconds, counts = np.unique(openings.astype(np.int64) % 86400, return_counts=True)
    if len(openings) < MIN_OPENINGS or counts.max() < MIN_SHARE * len(openings):
        return None
    return int(seconds[counts.argmax()])


def _to_datetimes(times: np.ndarray) -> list[datetime.datetime]:
    return times.astype("datetime64[s]").astype(object).tolist()


def _offset_change(time: datetime.datetime, zone: str) -> float:
    """Return how far the clocks are turned over a local time, in seconds: forward above 0, back below."""
    local = time.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    before, after = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    assert before is not None
    assert after is not None
    return (after - before).total_seconds()


def _is_ambiguous(time: datetime.datetime, zone: str) -> bool:
    return _offset_change(time, zone) < 0


def _is_skipped(time: datetime.datetime, zone: str) -> bool:
    return _offset_change(time, zone) > 0


def _has_skipped_hours(times: np.ndarray, zone: str) -> bool:
    """Tell whether some of `times` do not exist in the zone."""
    local = pd.DatetimeIndex(times)
    return bool(local.tz_localize(zone, ambiguous=np.ones(len(local), bool), nonexistent="NaT").isna().any())
