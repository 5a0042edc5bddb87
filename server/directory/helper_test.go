package directory

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/schedule"
)

func svcID(id string) catalog.ServiceID     { return catalog.ServiceID(id) }
func intID(id string) catalog.IntegrationID { return catalog.IntegrationID(id) }

// unset returns the path of the first field that is zero, so that a test of
// every field cannot forget a new one. Deleted is left to the test.
func unset(v any) string { return unsetIn(reflect.ValueOf(v), "") }

func unsetIn(v reflect.Value, path string) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return path
		}
		return unsetIn(v.Elem(), path)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			break
		}
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "Deleted" || v.Type() == reflect.TypeFor[schedule.Schedule]() && (name == "Overrides" || name == "Shadows") { // records of their own
				continue
			}
			if zero := unsetIn(v.Field(i), path+"."+name); zero != "" {
				return zero
			}
		}
		return ""
	case reflect.Slice:
		if v.Len() > 0 && v.Index(0).Kind() == reflect.Struct && len(path) < 100 {
			return unsetIn(v.Index(0), path+"[0]")
		}
	default: // a plain value
	}
	if v.IsZero() {
		return path
	}
	return ""
}

// counting counts the readings of its journal, which wait for the gate.
type counting struct {
	*journal
	reads atomic.Int64
	gate  chan struct{}
}

func (c *counting) After(ctx context.Context, position string, wait time.Duration) ([]Entry, error) {
	c.reads.Add(1)
	<-c.gate
	return c.journal.After(ctx, position, wait)
}
