# SPDX-License-Identifier: BSD-3-Clause
"""The drawings of the report: ratios as dots with their spread, and cost over size as lines."""
import math
from html import escape

# Told apart by people who see few colours, too.
COLOURS = ("#0b6bcb", "#c2571a", "#5b8c2a", "#8a4fbf", "#777777")

WIDTH, HEIGHT = 220, 18
LEAST, MOST = 0.25, 32.0


def x_of(ratio):
    share = math.log(min(max(ratio, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return 6 + share * (WIDTH - 12)


def ratio_line(ratio, target):
    """The median as a dot, all rounds as a line, the target as a mark, and a line where both are equal."""
    middle = HEIGHT / 2
    parts = [f'<line x1="{x_of(1):.1f}" x2="{x_of(1):.1f}" y1="0" y2="{HEIGHT}" class="one"/>',
             f'<line x1="{x_of(ratio.low):.1f}" x2="{x_of(ratio.high):.1f}" y1="{middle}" y2="{middle}" class="spread"/>']
    if target:
        x = x_of(target)
        parts.append(f'<path d="M{x:.1f} {HEIGHT - 1}l-4 0l4 -6l4 6z" class="target"/>'
                     f'<line x1="{x:.1f}" x2="{x:.1f}" y1="1" y2="{HEIGHT - 6}" class="target"/>')
    kind = "dot" if not target else "dot met" if ratio.median >= target else "dot missed"
    parts.append(f'<circle cx="{x_of(ratio.median):.1f}" cy="{middle}" r="4" class="{kind}"/>')
    return (f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{ratio.median:.2f} times">'
            + "".join(parts) + "</svg>")


def ratio_scale():
    """The scale of ratio_line(), for the head of a column."""
    parts = [f'<text x="{x_of(r):.1f}" y="11" text-anchor="middle">{r:g}</text>' for r in (0.25, 0.5, 1, 2, 4, 8, 16, 32)]
    return f'<svg width="{WIDTH}" height="14">{"".join(parts)}</svg>'


def power(number):
    if number >= 65536 and not number & (number - 1):
        return f"2^{number.bit_length() - 1}"
    exponent = round(math.log10(number))
    return f"1e{exponent}" if abs(number - 10 ** exponent) < 1e-6 * number else f"{number:g}"


def nice_top(most):
    """A round number that is not less."""
    step = 10 ** math.floor(math.log10(most))
    return next(step * f for f in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * f >= most)


def from_zero(least, most):
    """(marks, where a value is between 0 and 1) of an axis that begins with 0."""
    top = nice_top(most)
    return [top * share for share in (0, 0.25, 0.5, 0.75, 1)], lambda value: value / top


def decades(least, most):
    """The same for values that lie far apart: a logarithmic axis."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    bottom = 10.0 ** first
    return [10.0 ** e for e in range(first, last + 1)], lambda value: (math.log10(max(value, bottom)) - first) / (last - first)


def curves(title, unit, lines, width=360, height=210):
    """A chart of lines, each (name, [(size, low, median, high)]), over the logarithm of the size."""
    points = [p for _, line in lines for p in line]
    if not points:
        return ""
    left, right, top, bottom = 78, width - 18, 34, height - 26
    first, last = min(p[0] for p in points), max(p[0] for p in points)
    most = max(p[3] for p in points) or 1
    least = min(p[1] for p in points) or most / 1000

    def x(size):
        share = math.log(size / first) / math.log(last / first) if last > first else 0.5
        return left + share * (right - left)

    marks, share_of = (decades if most / least > 30 else from_zero)(least, most)

    def y(value):
        return bottom - share_of(value) * (bottom - top)

    parts = [f'<text x="4" y="14" class="title">{escape(title)}</text>']
    for mark in marks:
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" class="grid"/>'
                     f'<text x="{left - 5}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:,.6g}</text>')
    parts.append(f'<text x="{left}" y="27" text-anchor="start">{escape(unit)}</text>')
    for size in sorted({p[0] for p in points}):
        parts.append(f'<text x="{x(size):.1f}" y="{height - 10}" text-anchor="middle">{power(size)}</text>')
    for (name, line), colour in zip(lines, COLOURS):
        parts += one_curve(line, x, y, colour)
    parts += legend(lines, right)
    return f'<svg width="{width}" height="{height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def one_curve(line, x, y, colour):
    way = " ".join(f"{x(size):.1f},{y(middle):.1f}" for size, _, middle, _ in line)
    parts = [f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for size, low, middle, high in line:
        parts.append(f'<line x1="{x(size):.1f}" x2="{x(size):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}" stroke="{colour}"/>'
                     f'<circle cx="{x(size):.1f}" cy="{y(middle):.1f}" r="3" fill="{colour}"/>')
    return parts


def legend(lines, right):
    parts, x = [], right
    for (name, line), colour in reversed(list(zip(lines, COLOURS))):
        if line and len(lines) > 1:
            parts.append(f'<text x="{x}" y="27" text-anchor="end" style="fill:{colour};font-weight:600">{escape(name)}</text>')
            x -= 8 + 7 * len(name)
    return parts
