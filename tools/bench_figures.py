"""Figures: what `tools/bench` prints, as text for a person or as JSON."""
import json
import os
import platform
import statistics
import sys


class Figures:
    """Collects figures and, as text, prints each as soon as it is known."""

    def __init__(self, as_json):
        self.as_json, self.all = as_json, []

    def add(self, title, unit, results, note=""):
        """results has the values of all rounds by the program's name."""
        rows = {name: {"median": statistics.median(v), "min": min(v), "max": max(v), "rounds": len(v)} for name, v in results.items()}
        self.all.append({"title": title, "unit": unit, "note": note, "results": rows})
        if self.as_json:
            return
        wide, ours = max(16, *map(len, rows)) + 2, rows.get("appbundle")
        print(f"\n{title}{', ' + note if note else ''}")
        print(f"  {unit:{wide}}{'median':>10}{'lowest':>10}{'highest':>10}{'rounds':>8}{'times ours' if ours else '':>12}".rstrip())
        for name, r in rows.items():
            times = f"{r['median'] / ours['median']:.2f}" if ours and ours["median"] and name != "appbundle" else ""
            print(f"  {name:{wide}}{r['median']:10.4g}{r['min']:10.4g}{r['max']:10.4g}{r['rounds']:8}{times:>12}".rstrip())
        sys.stdout.flush()

    def end(self):
        if self.as_json:
            machine = {"processors": os.cpu_count(), "kernel": platform.release(), "arch": platform.machine()}
            json.dump({"format": 1, "machine": machine, "figures": self.all}, sys.stdout, indent=1)
            print()
