"""What a command would do: parsed, understood word by word, judged."""
