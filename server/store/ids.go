package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// An incident's id is 21 digits of lower base32, in an alphabet whose order is
// that of ASCII, so that ids of one partition sort by time:
//
//	digit 0      map epoch: how partitions are made of keys; '0' today
//	digits 1-2   partition
//	digits 3-12  Unix milliseconds, 48 bits
//	digits 13-20 random, 40 bits
const (
	digits   = "0123456789abcdefghjkmnpqrstvwxyz" // without i, l, o, u: read aloud without mistakes
	mapEpoch = '0'
	idLen    = 21
)

// NewIncidentID returns a fresh id in the partition.
func NewIncidentID(p Partition, now time.Time) incident.ID {
	var random [8]byte
	_, _ = rand.Read(random[:5]) // never fails
	b := make([]byte, 0, idLen)
	b = append(b, mapEpoch)
	b = appendDigits(b, uint64(p), 2)
	b = appendDigits(b, uint64(max(now.UnixMilli(), 0))&(1<<48-1), 10)
	b = appendDigits(b, binary.LittleEndian.Uint64(random[:]), 8)
	return incident.ID(b)
}

// appendDigits appends the n lowest base32 digits of v, highest first.
func appendDigits(b []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		b = append(b, digits[v>>(5*i)&31])
	}
	return b
}

// PartitionOfIncident reads the partition out of an id. What is no id of ours
// is NotFound: no such incident can exist.
func PartitionOfIncident(id incident.ID) (Partition, error) {
	if len(id) != idLen || id[0] != mapEpoch {
		return 0, notFound(id)
	}
	for i := range len(id) {
		if strings.IndexByte(digits, id[i]) < 0 {
			return 0, notFound(id)
		}
	}
	p := strings.IndexByte(digits, id[1])<<5 | strings.IndexByte(digits, id[2])
	if p >= Partitions {
		return 0, notFound(id)
	}
	return Partition(p), nil
}

// DeliveryID returns the id of a page to one device or address: a UUID
// (version 8) whose first byte is the partition of the document that it belongs
// to. It is made of the work item and the way of sending, so that work that is
// done again names the same delivery, and the phone shows one card.
func DeliveryID(d Doc, work, way string) (string, error) {
	p, err := d.Partition()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(d.member() + "\x00" + work + "\x00" + way))
	sum[0] = byte(p)
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return deliveryID([deliverySize]byte(sum[:])), nil
}

// deliverySize is how many bytes a delivery's id stands for.
const deliverySize = 16

// uuidParts is which of those are in each part of the text form.
var uuidParts = [...]struct{ from, to int }{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} //nolint:gochecknoglobals // look-up table

// deliveryID is the text form of a delivery's bytes.
func deliveryID(raw [deliverySize]byte) string {
	var text [36]byte
	b := text[:0]
	for i, part := range uuidParts {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, raw[part.from:part.to])
	}
	return string(b)
}

// parseDelivery returns the 16 bytes of a delivery id and its partition.
func parseDelivery(id string) ([]byte, Partition, bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return nil, 0, false
	}
	var plain [2 * deliverySize]byte
	b := append(plain[:0], id[:8]...)
	b = append(append(append(append(b, id[9:13]...), id[14:18]...), id[19:23]...), id[24:]...)
	raw := make([]byte, deliverySize)
	if _, err := hex.Decode(raw, b); err != nil || raw[0] >= Partitions {
		return nil, 0, false
	}
	return raw, Partition(raw[0]), true
}

// Doc names a document: an incident or a person, the other one empty.
type Doc struct {
	Incident incident.ID
	Person   roster.UserID
}

// IncidentDoc and PersonDoc name documents.
func IncidentDoc(id incident.ID) Doc { return Doc{Incident: id} }

// PersonDoc names the document of a person.
func PersonDoc(id roster.UserID) Doc { return Doc{Person: id} }

// Partition returns where the document is.
func (d Doc) Partition() (Partition, error) {
	if d.Person != "" {
		return PartitionOf(string(d.Person)), nil
	}
	return PartitionOfIncident(d.Incident)
}

func (d Doc) String() string { return d.member() }

// member is the document's name in the timers of its partition.
func (d Doc) member() string {
	if d.Person != "" {
		return "u:" + string(d.Person)
	}
	return "i:" + string(d.Incident)
}

// parseMember is the reverse of member.
func parseMember(m string) (Doc, bool) {
	switch {
	case strings.HasPrefix(m, "i:"):
		return IncidentDoc(incident.ID(m[2:])), true
	case strings.HasPrefix(m, "u:"):
		return PersonDoc(roster.UserID(m[2:])), true
	}
	return Doc{}, false
}
