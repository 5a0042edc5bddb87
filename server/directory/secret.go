package directory

import (
	"fmt"

	"github.com/tocsin-oncall/tocsin/server/roster"
)

// SealSecret returns the signing secret of a webhook as it is stored in the
// method of the user.
func (d *Directory) SealSecret(user roster.UserID, method roster.MethodID, secret []byte) ([]byte, error) {
	sealed, err := d.secrets.Seal(secret, secretName(user, method))
	if err != nil {
		return nil, fmt.Errorf("seal secret of %s: %w", secretName(user, method), err)
	}
	return sealed, nil
}

// OpenSecret returns the signing secret of a webhook.
func (d *Directory) OpenSecret(user roster.UserID, m roster.Method) ([]byte, error) {
	secret, err := d.secrets.Open(m.Secret, secretName(user, m.ID))
	if err != nil {
		return nil, fmt.Errorf("open secret of %s: %w", secretName(user, m.ID), err)
	}
	return secret, nil
}
