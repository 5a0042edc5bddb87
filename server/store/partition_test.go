package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
)

// crc16 is the checksum of Redis Cluster's hash slots (XMODEM), by the cluster
// specification.
func crc16(s string) (c uint16) {
	for i := range len(s) {
		c ^= uint16(s[i]) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
	}
	return c
}

func TestTagsSpreadOverTheSlots(t *testing.T) {
	t.Parallel()
	if got := crc16("123456789"); got != 0x31c3 { // the specification's own example
		t.Fatalf("crc16: got %#x, want 0x31c3", got)
	}
	const width = 16384 / Partitions
	var slots []int
	for i, tag := range tags {
		slot := int(crc16(tag) % 16384)
		middle := i*width + width/2
		if slot < middle-16 || slot > middle+16 {
			t.Errorf("tag %q of partition %d is in slot %d, want near %d", tag, i, slot, middle)
		}
		slots = append(slots, slot)
	}
	for nodes := 1; nodes <= 32; nodes++ { // contiguous ranges, as redis-cli makes them
		load := make([]int, nodes)
		for _, slot := range slots {
			load[min(slot*nodes/16384, nodes-1)]++
		}
		if most, fair := slices.Max(load), (Partitions+nodes-1)/nodes; most > fair+1 {
			t.Errorf("%d nodes: one has %d partitions, a fair share is %d", nodes, most, fair)
		}
	}
}

func TestPartitionsAreEvenlyUsed(t *testing.T) {
	t.Parallel()
	var count [Partitions]int
	for i := range 64_000 {
		count[PartitionOf(fmt.Sprintf("service-%d", i))]++
	}
	for p, n := range count {
		if n < 800 || n > 1200 {
			t.Errorf("partition %d has %d of 64,000 services, want about 1,000", p, n)
		}
	}
	// Where things are never changes: these are what the first version wrote.
	for key, want := range map[string]Partition{"checkout": 48, "ann": 33, "": 1} {
		if got := PartitionOf(key); got != want {
			t.Errorf("partition of %q: got %d, want %d", key, got, want)
		}
	}
}

func TestIncidentIDs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		p := Partition(rapid.IntRange(0, Partitions-1).Draw(r, "partition"))
		ms := rapid.Int64Range(0, 1<<48-2).Draw(r, "ms")
		id := NewIncidentID(p, time.UnixMilli(ms))
		if got, err := PartitionOfIncident(id); err != nil || got != p {
			r.Fatalf("partition of %s: got %v, %v, want %v", id, got, err, p)
		}
		if later := NewIncidentID(p, time.UnixMilli(ms+1)); later <= id {
			r.Fatalf("id of a later millisecond %s sorts before %s", later, id)
		}
	})
	for _, bad := range []incident.ID{"", "x", "0zz0000000000aaaaaaaa", "100000000000000000000", "0000000000000000000o0", "00000000000000000000"} {
		if _, err := PartitionOfIncident(bad); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%q: got %v, want not found", bad, err)
		}
	}
}

func TestDeliveryIDs(t *testing.T) {
	t.Parallel()
	in := IncidentDoc(NewIncidentID(37, base))
	a, err := DeliveryID(in, "37/1-1", "iphone")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := DeliveryID(in, "37/1-1", "iphone"); again != a {
		t.Errorf("the same work and device: got %s and %s, want one id", a, again)
	}
	if other, _ := DeliveryID(in, "37/1-1", "ipad"); other == a {
		t.Errorf("another device has the same id %s", a)
	}
	raw, p, ok := parseDelivery(a)
	if !ok || p != 37 || fieldID(string(raw)) != a || a[14] != '8' {
		t.Errorf("id %s: got partition %v, %v, want 37 in a UUID of version 8", a, p, ok)
	}
	for _, bad := range []string{"", "zz", a[:35], "ff" + a[2:], a[:8] + "x" + a[9:], "g" + a[1:]} {
		if _, _, ok := parseDelivery(bad); ok {
			t.Errorf("%q was taken for a delivery id", bad)
		}
	}
}
