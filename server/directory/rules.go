package directory

import (
	"context"
	"errors"
	"slices"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// check holds the whole outcome of a change against the rules between records.
func (e *Edit) check(ctx context.Context, next *Snapshot, inUse InUse) error {
	for _, k := range e.order {
		if e.gone[k] {
			if err := checkUnused(ctx, k, next, inUse, e.Now); err != nil {
				return err
			}
			continue
		}
		r := e.puts[k]
		if err := checkReferences(r, next); err != nil {
			return about(k, err)
		}
		if err := checkUnique(r, e.Snapshot, next); err != nil {
			return about(k, err)
		}
	}
	if err := e.checkLastAdmin(next); err != nil {
		return err
	}
	if e.force {
		return nil
	}
	return e.checkReach(next)
}

// checkLastAdmin refuses to leave an installation that had administrators without any.
func (e *Edit) checkLastAdmin(next *Snapshot) error {
	touched := slices.ContainsFunc(e.order, func(k Key) bool {
		old, ok := e.GetUser(roster.UserID(k.ID))
		return k.Kind == KindUser && ok && isAdmin(old)
	})
	if !touched {
		return nil
	}
	for u := range next.Users() {
		if isAdmin(u) {
			return nil
		}
	}
	return fault.New(fault.Precondition, "LAST_ADMIN", "somebody has to stay administrator; make another one first")
}

func isAdmin(u *User) bool { return u.Role == roster.Admin && !u.Inactive }

// checkReach refuses what would page nobody: policies and a catch-all that the
// change writes, and those that lose their last reachable person by it. A
// device is not asked: a lost phone is revoked whatever hangs on it.
func (e *Edit) checkReach(next *Snapshot) error {
	for _, k := range e.order {
		if e.gone[k] {
			continue
		}
		switch r := e.puts[k].(type) {
		case *Policy:
			if err := next.pagesNobody(r); err != nil {
				return err
			}
		case *Settings:
			if old := e.GetSettings(); !slices.Equal(old.CatchAll, r.CatchAll) {
				if err := next.catchesNobody(r); err != nil {
					return err
				}
			}
		case *User:
			if err := e.checkLoss(r, next); err != nil {
				return err
			}
		case *Schedule, *Team:
			if err := e.checkHolders(k, next); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkLoss refuses to change a person so that a policy that could page
// somebody cannot any more.
func (e *Edit) checkLoss(u *User, next *Snapshot) error {
	if old, ok := e.User(u.ID); !ok || !old.Reachable(true, e.Devices(u.ID)) || u.Reachable(true, next.Devices(u.ID)) {
		return nil
	}
	for _, by := range next.CountedOn(u.ID) {
		if err := e.checkStillPages(by, next); err != nil {
			return err
		}
	}
	set := next.GetSettings()
	if slices.Contains(set.CatchAll, u.ID) && e.catchesNobody(e.GetSettings()) == nil {
		return next.catchesNobody(set)
	}
	return nil
}

// checkStillPages refuses that a policy that could page somebody cannot any more.
func (e *Edit) checkStillPages(policy Key, next *Snapshot) error {
	was, ok := find[*Policy](e.Snapshot, KindPolicy, policy.ID)
	if !ok || e.pagesNobody(was) != nil {
		return nil
	}
	if is, ok := find[*Policy](next, KindPolicy, policy.ID); ok {
		return next.pagesNobody(is)
	}
	return nil
}

// checkHolders is checkLoss for a schedule or a team that people have left.
func (e *Edit) checkHolders(k Key, next *Snapshot) error {
	refs, _ := next.referrer.get(reference{k, KindPolicy})
	for id := range refs.all() {
		if err := e.checkStillPages(Key{KindPolicy, id}, next); err != nil {
			return err
		}
	}
	return nil
}

// structural reports whether a record, as it changes from old to new (either
// may be nil), bears on rules between records: then all such changes are put in
// one order, or two that are right by themselves could be wrong together.
func structural(old, now Record) bool {
	if old == nil || now == nil || old.meta().Deleted.IsZero() != now.meta().Deleted.IsZero() {
		return true
	}
	var a, b []Key
	old.refs(func(_ string, k Key) { a = append(a, k) })
	now.refs(func(_ string, k Key) { b = append(b, k) })
	if !slices.Equal(a, b) {
		return true
	}
	switch now := now.(type) {
	case *User:
		old, ok := old.(*User)
		return !ok || foldEmail(old.Email) != foldEmail(now.Email) || isAdmin(old) != isAdmin(now)
	case *Device:
		old, ok := old.(*Device)
		return !ok || old.Address.Lookup != now.Address.Lookup || old.Install != now.Install || old.State != now.State
	case *Integration:
		old, ok := old.(*Integration)
		return !ok || old.KeyHash != now.KeyHash
	case *Feed:
		old, ok := old.(*Feed)
		return !ok || old.Hash != now.Hash
	case *Token:
		old, ok := old.(*Token)
		return !ok || old.Hash != now.Hash
	}
	return false
}

func asFault(err error) (*fault.Error, bool) { return errors.AsType[*fault.Error](err) }
