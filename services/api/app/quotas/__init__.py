"""How much a user may ask for: requests a minute, uploaded bytes a day, runs an hour. Each is off unless set."""
