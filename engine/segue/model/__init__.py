"""The words that every floor uses: plain values, standard library only."""
