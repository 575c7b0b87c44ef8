"""What is true: pure values and functions. Imports nothing of the house but its errors."""
