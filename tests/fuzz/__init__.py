"""Commands run on mutated artifacts: for long by ``make fuzz``, for seconds in each test run.

For any artifact a command exits with 0, 1 or 2, within limits of time and memory, prints one line
for each error and no terminal control character, and writes nothing except its output.
"""
