"""`vello-meetings doctor`: looks at everything this service stands on, and says what is wrong and how to mend it."""
