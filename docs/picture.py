#!/usr/bin/env python3
"""Draws docs/picture.svg: three orders of a running system (`make up`), one of which meets a
killed service. The order of the events and the times at them are those of the run, in slow motion.

    docs/picture.py target/release/saga docs/picture.svg
"""

import json
import os
import re
import signal
import subprocess
import sys
from datetime import datetime
from html import escape
from time import monotonic, sleep

SERVICES = ["order", "payment", "inventory", "shipping"]
BACK = ["shipping.failed", "inventory.failed", "inventory.released", "order.cancel-requested"]
WIDTH, HEIGHT, TOP = 150, 62, 96
MOVE_S, EVENT_S, END_S, KILLED_S = 0.7, 0.95, 2.0, 1.6
# For a killed service to be missed.
WAIT_S = 3
ENDS_WITHIN_S = 60

STYLE = """
  text { font: 15px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 20px; font-weight: 600 } .time { font-family: monospace }
  .end { font-size: 20px; font-weight: 700; fill: #1a7f4b } .end.undone { fill: #a15c00 }
  .box { fill: #f6f6f2; stroke: #d0d4d0 } .line { fill: none; stroke: #b4bab4; stroke-width: 2 }
  .back { stroke-dasharray: 5 4 } .killed { fill: none; stroke: #c0392b; stroke-width: 4 }
  .note { fill: #c0392b; font-weight: 600 }
  .order { fill: #2b62c9 } .payment { fill: #7a4bbd } .inventory { fill: #a15c00 }
  .shipping { fill: #1a7f4b } .name { font-weight: 650 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .box { fill: #1c2128; stroke: #3d444d } .line { stroke: #59636e }
    .order { fill: #78a6ff } .payment { fill: #c19bff } .inventory { fill: #f0a94a }
    .shipping, .end { fill: #56d08f } .end.undone { fill: #f0a94a }
    .note { fill: #ff7b72 } .killed { stroke: #ff7b72 }
  }
"""


def saga(*arguments):
    command = [SAGA, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def routes():
    """The subscribers of each event, from what the services declare."""
    subscribers = {}
    for line in saga("topology", "--mermaid").splitlines():
        edge = re.match(r' *\w+ [-.]+ "(.+)" [-.]+> (\w+)', line)
        for event in edge[1].split("<br/>") if edge else []:
            subscribers.setdefault(event, []).append(edge[2])
    return subscribers


def place(scenario):
    return json.loads(saga("order", "place", "--scenario", scenario, "--json"))["order_id"]


def ended(order):
    """The order, once it has ended."""
    until = monotonic() + ENDS_WITHIN_S
    while monotonic() < until:
        told = json.loads(saga("order", "get", order, "--json"))
        if told["status"] in ("CONFIRMED", "CANCELLED", "PAYMENT_FAILED"):
            return told
        sleep(0.1)
    sys.exit(f"order {order} has not ended within {ENDS_WITHIN_S} s")


def with_payment_killed():
    parts = json.loads(saga("status", "--json"))["parts"]
    os.kill(next(part["pid"] for part in parts if part["name"] == "payment"), signal.SIGKILL)
    order = place("confirmed")
    sleep(WAIT_S)
    saga("up")
    return ended(order)


def box_x(service):
    return 20 + SERVICES.index(service) * 243


def path(start, end, event):
    """The way of an event from one service to another."""
    here, there = box_x(start), box_x(end)
    middle = TOP + HEIGHT / 2
    if end == "order" and start != "order":
        return f"M{here + 75} {TOP + HEIGHT}V{TOP + HEIGHT + 46}H{there + 75}V{TOP + HEIGHT}"
    if event == "order.cancel-requested":
        return f"M{here + 75} {TOP}V{TOP - 20}H{there + 75}V{TOP}"
    if here < there:
        return f"M{here + WIDTH} {middle - 12}H{there}"
    return f"M{here} {middle + 14}H{there + WIDTH}"


class Film:
    def __init__(self):
        self.now, self.parts = 0.0, []

    def shown(self, begin, end, what):
        self.parts.append((begin, end, what))

    def scene(self, title, order, subscribers, killed=None):
        begin, start = self.now, datetime.fromisoformat(order["created_at"])
        self.now += 0.6
        for step in order["timeline"]:
            event, at = step["event"], self.now
            if killed == step["service"]:
                self.shown(at - EVENT_S, at, cross(killed) + note(killed, "kill -9"))
                waits = note(killed, "its event waits in RabbitMQ") + waiting(killed)
                self.shown(at, at + KILLED_S, cross(killed) + waits)
                self.now = at = at + KILLED_S
                self.shown(at, at + 2 * EVENT_S, note(killed, "started again"))
                killed = None
            passed = datetime.fromisoformat(step["at"]) - start
            said = f"+{max(0, round(passed.total_seconds() * 1000))} ms"
            words = f'<tspan class="time">{said}</tspan>  {escape(event)}'
            self.shown(at, at + EVENT_S, f'<text x="20" y="250">{words}</text>')
            for subscriber in subscribers[event]:
                way = path(step["service"], subscriber, event)
                self.shown(at, at + MOVE_S, (step["service"], way))
            self.now += EVENT_S
        kind = "" if order["status"] == "CONFIRMED" else " undone"
        end = f'<text class="end{kind}" x="20" y="250">{order["status"]}</text>'
        self.shown(self.now, self.now + END_S, end)
        self.now += END_S
        self.shown(begin, self.now, f'<text class="title" x="20" y="32">{escape(title)}</text>')

    def svg(self, subscribers):
        pairs = [(event, to) for event, all in subscribers.items() for to in all]
        lines = {path(event.split(".")[0], to, event): event for event, to in pairs}
        drawn = [line(way, event) for way, event in lines.items()]
        drawn += [box(service) for service in SERVICES]
        drawn += [self.part(*part) for part in self.parts]
        body = "\n".join(drawn)
        label = "Three orders: one is confirmed, one undone, one waits for a killed service"
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 270" role="img"'
            f' aria-label="{label}">\n'
            f"<style>{STYLE}</style>\n{body}\n</svg>\n"
        )

    def part(self, begin, end, what):
        a, b = round(begin / self.now, 4), round(min(end / self.now, 1), 4)
        times = f'dur="{self.now:.2f}s" repeatCount="indefinite"'
        seen = (
            '<animate attributeName="opacity" values="0;1;0" calcMode="discrete"'
            f' keyTimes="0;{a};{b}" {times}/>'
        )
        if isinstance(what, str):
            return f'<g opacity="0">{what}{seen}</g>'
        service, way = what
        moves = (
            f'<animateMotion path="{way}" calcMode="linear" keyPoints="0;0;1;1"'
            f' keyTimes="0;{a};{b};1" {times}/>'
        )
        return f'<circle class="{service}" r="8" opacity="0">{seen}{moves}</circle>'


def line(way, event):
    is_back = event in BACK
    return f'<path class="line{" back" if is_back else ""}" d="{way}"/>'


def box(service):
    x = box_x(service)
    return (
        f'<rect class="box" x="{x}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" rx="9"/>'
        f'<rect class="{service}" x="{x}" y="{TOP}" width="{WIDTH}" height="5" rx="2"/>'
        f'<text class="name {service}" x="{x + WIDTH / 2}" y="{TOP + 38}" text-anchor="middle">'
        f"{service}</text>"
    )


def cross(service):
    x = box_x(service)
    return f'<path class="killed" d="M{x} {TOP}l{WIDTH} {HEIGHT}m{-WIDTH} 0l{WIDTH} {-HEIGHT}"/>'


def waiting(service):
    return f'<circle class="order" cx="{box_x(service) - 12}" cy="{TOP + HEIGHT / 2 - 12}" r="8"/>'


def note(service, words):
    x = box_x(service) + WIDTH / 2
    return f'<text class="note" x="{x}" y="{TOP - 28}" text-anchor="middle">{words}</text>'


def main():
    subscribers, film = routes(), Film()
    film.scene("An order", ended(place("confirmed")), subscribers)
    film.scene("The carrier refuses: each step is undone", ended(place("carrier")), subscribers)
    film.scene("payment is killed: nothing is lost", with_payment_killed(), subscribers, "payment")
    with open(PICTURE, "w", encoding="utf-8") as file:
        file.write(film.svg(subscribers))


SAGA, PICTURE = sys.argv[1:]
main()
