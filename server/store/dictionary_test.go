package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"slices"
	"testing"
)

// The dictionary of a packing is made once, before it is first written, and
// never again. It is made of what lives of the corpus have in common, in the
// form and packing of the time:
//
//	go test ./server/store -run TestMakeDictionary -dictionary archiveN.dict
var makeDictionary = flag.String("dictionary", "", "make a dictionary for archives, and write it there")

const (
	dictionaryLives = 300  // of which it is made
	dictionaryBytes = 4096 // twice as much saves another 3 in 100, and takes longer to take in
	gram            = 6    // bytes that are worth a reference
	segment         = 48   // bytes that are chosen at a time
)

// Whoever makes a dictionary makes the same one, so that it can be seen where a
// committed one is from.
func TestMakeDictionary(t *testing.T) {
	t.Parallel()
	const few = dictionaryLives / 10 // show it as well
	if !bytes.Equal(newDictionary(t, few), newDictionary(t, few)) {
		t.Error("made twice, it is not the same")
	}
	if *makeDictionary == "" {
		return
	}
	if err := os.WriteFile(*makeDictionary, newDictionary(t, dictionaryLives), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newDictionary(tb testing.TB, lives int) []byte {
	tb.Helper()
	var texts [][]byte
	for _, a := range corpus(tb, 1_000, lives) {
		m := archiveToProto(a)
		squeeze(a.incident.ID, m)
		texts = append(texts, form(Schema).body(m))
	}
	return commonest(texts, dictionaryBytes)
}

// An archive that was written with a dictionary is lost with it.
func TestDictionariesNeverChange(t *testing.T) {
	t.Parallel()
	for p, want := range map[packing]string{
		firstPacking:  "4e8cdad17a9122bb",
		secondPacking: "899f6d93b23ef405",
	} {
		sum := sha256.Sum256(deflaters[p].dictionary)
		if got := hex.EncodeToString(sum[:8]); got != want {
			t.Errorf("the dictionary of packing %d: got %s, want %s: give another one another number", p, got, want)
		}
	}
}

// commonest returns the segments whose grams are in most of the texts, the best
// one last, where a reference is shortest. Each gram counts once: this is the
// greedy cover by which zstd trains its dictionaries.
func commonest(texts [][]byte, size int) []byte {
	numbers, in := map[string]int{}, []int{} // of grams; in how many texts each is
	grams := make([][]int, len(texts))
	for t, text := range texts {
		seen := map[int]bool{}
		for i := range len(text) - gram + 1 {
			g, known := numbers[string(text[i:i+gram])]
			if !known {
				g = len(in)
				numbers[string(text[i:i+gram])], in = g, append(in, 0)
			}
			if !seen[g] {
				seen[g] = true
				in[g]++
			}
			grams[t] = append(grams[t], g)
		}
	}
	for g, n := range in {
		if n == 1 {
			in[g] = 0 // it is nothing that texts have in common
		}
	}
	var chosen [][]byte
	for total := 0; total < size; {
		t, from, to := bestSegment(grams, in)
		if from == to {
			break
		}
		for _, g := range grams[t][from:to] {
			in[g] = 0
		}
		chosen = append(chosen, texts[t][from:to+gram-1])
		total += len(chosen[len(chosen)-1])
	}
	slices.Reverse(chosen)
	return slices.Concat(chosen...)
}

// bestSegment returns the text and the grams of the segment that is worth most,
// without what is worth nothing at its ends.
func bestSegment(grams [][]int, worth []int) (text, from, to int) {
	const wide = segment - gram + 1
	best, held := 0, make([]int, len(worth)) // how often the window has each gram
	for t, all := range grams {
		sum := 0
		for i, g := range all {
			if held[g]++; held[g] == 1 {
				sum += worth[g]
			}
			if i >= wide {
				old := all[i-wide]
				if held[old]--; held[old] == 0 {
					sum -= worth[old]
				}
			}
			if i >= wide-1 && sum > best {
				best, text, from, to = sum, t, i-wide+1, i+1
			}
		}
		for _, g := range all {
			held[g] = 0
		}
	}
	for from < to && worth[grams[text][from]] == 0 {
		from++
	}
	for to > from && worth[grams[text][to-1]] == 0 {
		to--
	}
	return text, from, to
}
