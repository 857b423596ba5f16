"""`python -m app`: see `app.commands`.

Nothing is imported up here: every worker process imports this module again, and needs nothing of the server.
"""

if __name__ == "__main__":
    import sys

    from app.commands import main

    sys.exit(main())
