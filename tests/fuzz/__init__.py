"""Mutated artifacts, given to every command: ``make fuzz`` for long, some seconds in each test run.

Whatever is in an artifact, a command ends with 0, 1 or 2, soon, in little memory, with one line for
each error, writes nothing but its output, and prints no byte that a terminal obeys.
"""
