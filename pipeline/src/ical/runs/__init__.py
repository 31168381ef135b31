"""The runs that ship with the project; found by name, e.g. `ical run reference`."""
