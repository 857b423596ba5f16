"""Times for people to read."""


def clock(time_s: float) -> str:
    """`3.5 s` below a minute, `1:02:03.5` style beyond."""
    if time_s < 60:
        return f"{time_s:.1f} s"
    tenths = round(time_s * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"
