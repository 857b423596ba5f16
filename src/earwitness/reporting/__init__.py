"""The forensic report, version 2: its contents as JSON, and the same contents as PDF/A and as a web page.

    reporting.contents      what a report says: `build_report`, made of JSON values only
    reporting.document      the same as sections, tables and figures, which `pdf` and `html` set
    reporting.full          from a recording to the files, with everything that needs its sound a second time

Version 1, which earlier readers know, stays in `earwitness.report`.
"""
