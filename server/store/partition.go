package store

import (
	"hash/fnv"
	"strconv"
)

// Partitions is how many there are. It is fixed for an installation: ids and
// hash tags depend on it.
const Partitions = 64

// Partition is one of the parts that the state is divided into. What one
// document needs atomically is in one partition, which is one Redis hash slot.
type Partition uint8

// PartitionOf returns the partition of a service or of a person, by its id.
func PartitionOf(key string) Partition {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key)) // never fails
	v := h.Sum64()
	return Partition((v ^ v>>32) % Partitions)
}

func (p Partition) String() string { return strconv.Itoa(int(p)) }

// All returns every partition, in order.
func All() []Partition {
	all := make([]Partition, Partitions)
	for i := range all {
		all[i] = Partition(i)
	}
	return all
}

// tags are the hash tags of the partitions. Tag i is the shortest string of hex
// digits whose slot (CRC16 mod 16384) lies near the middle of the i-th of 64
// equal ranges of slots, so that a cluster whose nodes hold contiguous ranges
// has its partitions spread evenly, however many nodes there are. Plain p0..p63
// would leave nodes empty. The table may never change: it is where the data is.
//
//nolint:gochecknoglobals // look-up table
var tags = [Partitions]string{
	"14", "65b", "e0", "e8", "29", "21", "5c0", "f5",
	"96a", "0b", "87", "df", "094", "56b", "8ce", "5bf",
	"5a3", "d6", "557", "02", "ffc", "6ce", "37", "67a",
	"99", "91", "1d", "28a", "ddc", "fe", "94b", "2a",
	"7a", "52d", "ce", "b37", "602", "4d", "1", "9",
	"532", "67", "781", "b3", "52", "931", "a6", "8e8",
	"7d8", "bc", "621", "f77", "af", "5dc", "5b", "be0",
	"c5", "da3", "71", "79", "a", "8d6", "511", "44",
}
