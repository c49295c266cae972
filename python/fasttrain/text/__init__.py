"""Floor 2: words, lines, n-grams, hashes, Unicode: what several data rooms need of text, over a whole batch."""
