"""What cells remember: the tasks, their sequences, the networks trained on them, and what came of it."""
