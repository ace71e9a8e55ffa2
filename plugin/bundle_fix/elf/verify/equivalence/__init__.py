"""The verifier of editors that write a new file with other tables: the loader must do the same."""
