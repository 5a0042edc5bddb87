package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/tocsin-oncall/tocsin/push/webpush"
)

type vapidCmd struct {
	File string `arg:"" placeholder:"FILE" help:"Where to write the key pair. A file that is there stays: its public key is shown."`
}

// Run makes the key pair that the push services of browsers know an
// installation by, once.
func (c *vapidCmd) Run(s *session) error {
	if text, err := os.ReadFile(c.File); err == nil {
		key, err := webpush.ParseKey(text)
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		fmt.Fprintf(s.out, "%s is there already and stays: its key is for good.\n", c.File)
		s.vapid(c.File, key)
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	key, err := webpush.NewKey()
	if err != nil {
		return err
	}
	text, err := key.File()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close(), os.Remove(c.File))
	}
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s holds a new key pair. Back it up now: every browser subscribes with it, and with another one each has to subscribe anew.\n", c.File)
	s.vapid(c.File, key)
	return nil
}

func (s *session) vapid(file string, key *webpush.Key) {
	fmt.Fprintf(s.out, "\nPublic key: %s\n\nIn the configuration:\n\n", key.PublicKey())
	fmt.Fprintf(s.out, "push:\n  apps:\n    - id: oncall\n      platform: web\n      vapid_key_file: %s\n      vapid_subject: mailto:oncall@example.com  # yours\n", file)
}
