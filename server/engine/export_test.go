package engine

// InboxTurns is how many partitions decide events at the same time.
const InboxTurns = inboxTurns
