package app

import (
	"io"
	"log/slog"
	"os"

	"github.com/tocsin-oncall/tocsin/server/config"
)

// NewLog returns the log that the configuration asks for.
func NewLog(c config.Log, to io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the configuration has been validated: it was empty
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "text" || (c.Format != "json" && isTerminal(to)) {
		return slog.New(slog.NewTextHandler(to, o))
	}
	return slog.New(slog.NewJSONHandler(to, o))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
