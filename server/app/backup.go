package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/redisd"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Contents is what a back-up was found to hold.
type Contents struct {
	Bytes                               int64
	Incidents                           int // open ones
	Events                              int // accepted and not yet decided
	People, Devices, Services, Policies int
}

// unfinished ends the name of a back-up that has not been looked into yet.
const unfinished = ".unfinished"

// Backup copies what the private Redis of an installation holds into the
// directory to, which must not be there yet, whether the server runs or not. It
// then starts a Redis on the copy, reads everything and opens its secrets with the
// master key that is in use, so that what bears the name is known to be good.
//
// The master key is not in the copy. Faults are of kind Precondition:
// REDIS_NOT_PRIVATE, MASTER_KEY_MISSING, MASTER_KEY_UNKNOWN; or Exists: BACKUP_EXISTS.
func Backup(ctx context.Context, c config.Config, to string) (found Contents, err error) {
	if !c.Private() {
		return found, fault.New(fault.Precondition, "REDIS_NOT_PRIVATE",
			"the incidents are in the Redis of redis.url: back that one up by its own means; this command copies the private one only")
	}
	keys, err := keysInUse(c)
	if err != nil {
		return found, err
	}
	part := to + unfinished
	for _, name := range []string{to, part} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return found, fault.New(fault.Exists, "BACKUP_EXISTS", name+" is there already and stays as it is: name a directory that is not there, or remove it")
		}
	}
	if err := os.Mkdir(part, 0o700); err != nil {
		return found, fmt.Errorf("make the directory of the back-up: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	size, err := redisd.Copy(ctx, filepath.Join(c.DataDir, "redis"), part)
	if err != nil {
		return found, fmt.Errorf("back up: %w", err)
	}
	found, err = inspect(ctx, c, keys, part)
	if err != nil {
		return found, fmt.Errorf("the copy is no good and is removed: %w", err)
	}
	found.Bytes = size
	if err := os.Rename(part, to); err != nil {
		return found, fmt.Errorf("give the back-up its name: %w", err)
	}
	return found, redisd.SyncDir(filepath.Dir(to))
}

// keysInUse returns the master keys of the configuration or of the data
// directory. It makes none: a new one would open nothing.
func keysInUse(c config.Config) (auth.Keyring, error) {
	file := filepath.Join(c.DataDir, "master.key")
	if c.MasterKey == "" {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return auth.Keyring{}, fault.New(fault.Precondition, "MASTER_KEY_MISSING", fmt.Sprintf(
				"there is no master key in %s: run this with the configuration of the server, its data_dir and, if it has one, its %s", file, auth.MasterKeyEnv))
		}
	}
	keys, _, err := auth.LoadKeyring(file, masterKeys(c.MasterKey))
	return keys, err
}

// inspect starts a Redis on a copy and counts what is in it.
func inspect(ctx context.Context, c config.Config, keys auth.Keyring, copied string) (found Contents, err error) {
	scratch, err := os.MkdirTemp("", "tocsin")
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	private, err := redisd.Load(ctx, copied, scratch, redisd.Options{Fsync: redisd.FsyncNo, Binary: c.Redis.Program})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, private.Stop(context.WithoutCancel(ctx))) }()
	s, err := store.Open(ctx, store.Options{URL: private.URL()})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	d, err := directory.Open(ctx, directory.Options{Log: directory.StoreLog{Store: s}, Keys: keys, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return found, err
	}
	stats, err := s.Stats(ctx)
	if err != nil {
		return found, err
	}
	for _, p := range stats {
		found.Incidents += p.Open
		found.Events += p.Inbox
	}
	all := d.Snapshot()
	found.People, found.Devices = all.Count(directory.KindUser), all.Count(directory.KindDevice)
	found.Services, found.Policies = all.Count(directory.KindService), all.Count(directory.KindPolicy)
	return found, nil
}
