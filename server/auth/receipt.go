package auth

import (
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// ReceiptLife is how long receipts of a delivery are taken.
const ReceiptLife = 7 * 24 * time.Hour

// receiptDays is the greatest distance in days between issue and expiry.
const receiptDays = int64(ReceiptLife/(24*time.Hour)) + 1

func badReceipt() error {
	return fault.New(fault.Unauthenticated, "RECEIPT_KEY_INVALID", "the receipt key is not valid for this delivery")
}

// ReceiptKey issues the key by which a phone that has no credential at hand
// says what became of a delivery: "r1.<kid>.<exp>.<mac>". It is good for
// received, displayed, opened and suppressed, and for nothing else.
func (s Signer) ReceiptKey(b Binding, issued time.Time) (string, error) {
	if err := b.check(); err != nil {
		return "", err
	}
	if !s.ring.Valid() {
		return "", fault.New(fault.Internal, "NO_MASTER_KEY", "there is no master key to sign with")
	}
	day, exp := dayOf(issued), strconv.FormatInt(issued.Add(ReceiptLife).Unix(), 10)
	m := s.mac(s.ring.keys[0], receiptLabel, day, b.receiptFields(exp)...)
	return strings.Join([]string{"r1", strconv.FormatInt(day, 10), exp, encodeMAC(m)}, "."), nil
}

func (b Binding) receiptFields(exp string) []string {
	return []string{b.Delivery, string(b.Device), strconv.FormatUint(uint64(b.Epoch), 10), exp}
}

// VerifyReceipt proves that the key was issued for this delivery and device
// and is not expired at now.
func (s Signer) VerifyReceipt(key string, b Binding, now time.Time) error {
	if len(key) > MaxActionToken {
		return badReceipt()
	}
	part := strings.Split(key, ".")
	if len(part) != 4 || part[0] != "r1" {
		return badReceipt()
	}
	day, okDay := number(part[1])
	exp, okExp := number(part[2])
	m, okMAC := decodeMAC(part[3])
	if !okDay || !okExp || !okMAC {
		return badReceipt()
	}
	expires := time.Unix(exp, 0)
	authentic := s.verifies(m, receiptLabel, day, b.receiptFields(part[2])...)
	if !authentic || dayOf(expires)-day > receiptDays || dayOf(expires) < day || !now.Before(expires) {
		return badReceipt()
	}
	return nil
}
