#!/usr/bin/env python3
"""Checks a demo_server and a call program against PROTOCOL, over TCP, knowing nothing of their sources.

    python3 ci/conformance/run.py --demo-server PATH --call PATH [--only SUBSTR] [--jobs N] [--list]

A line for each case that fails, then `N passed, M failed`. Exit status 1 if any failed.
"""
import argparse
import collections
import concurrent.futures
import os
import sys

import case
# Importing a module registers its cases.
import cases_call
import cases_call_faults
import cases_call_rules
import cases_disconnect
import cases_framing
import cases_life
import cases_limits
import cases_places
import cases_reserved
import cases_shutdown
import cases_tasks
from harness import Fleet


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo-server", metavar="PATH", help="the demo_server program")
    parser.add_argument("--call", metavar="PATH", help="the call program; without it its cases are left out")
    parser.add_argument("--only", metavar="SUBSTR", default="", help="only cases whose section, name or rule has this in it")
    parser.add_argument("--jobs", type=int, default=8, help="cases at a time (default 8)")
    parser.add_argument("--list", action="store_true", help="print the cases and their rules, and run nothing")
    return parser.parse_args()


def chosen(options):
    found = [one for one in case.CASES if options.only in f"{one.section}: {one.name} [{one.rule}]"]
    if not options.call and not options.list:
        found = [one for one in found if not one.section.startswith("call")]
    return found


def print_list(cases):
    for one in cases:
        print(f"{one.section}: {one.name} [{one.rule}]")
    for section, count in collections.Counter(one.section for one in cases).items():
        print(f"{count:4} {section}")


def run(cases, options):
    """Slow cases first, so that none is left alone at the end."""
    fleet, failures = Fleet(os.path.abspath(options.demo_server)), []
    call_path = options.call and os.path.abspath(options.call)
    try:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            running = [pool.submit(case.run_case, one, fleet, call_path) for one in sorted(cases, key=lambda one: not one.slow)]
            for done in concurrent.futures.as_completed(running):
                if line := done.result():
                    failures.append(line)
                    print(line, flush=True)
    finally:
        fleet.kill()
    return failures


def main():
    options = arguments()
    names = collections.Counter((one.section, one.name) for one in case.CASES)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        sys.exit(f"two cases have one name: {twice}")
    cases = chosen(options)
    if options.list:
        return print_list(cases)
    if not options.demo_server:
        sys.exit("--demo-server PATH is wanted")
    for path in filter(None, (options.demo_server, options.call)):
        if not os.access(path, os.X_OK):
            sys.exit(f"{path} is no program")
    failures = run(cases, options)
    print(f"{len(cases) - len(failures)} passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
