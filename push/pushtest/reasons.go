package pushtest

// Reason is one documented answer of a service.
type Reason struct {
	Status  int    `json:"status"`
	Reason  string `json:"reason"`
	Meaning string `json:"meaning"`
	Rule    string `json:"rule"` // what brings it about without a script
}

// APNsReasons are the answers that Apple documents, and one that was only
// seen. [Reject] scripts any of them.
// https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
func APNsReasons() []Reason {
	return []Reason{
		{400, "BadCollapseId", "the collapse id is too long", "a collapse id of more than 64 bytes"},
		{400, "BadDeviceToken", "the token is malformed or of the other environment", "a token that is no hex, or that nobody registered"},
		{400, "BadExpirationDate", "the expiration is no number", "a header that is no number of seconds"},
		{400, "BadMessageId", "the apns-id is no UUID", "a header that is no UUID in lower case"},
		{400, "BadPriority", "the priority is none, or too high for the kind", "a priority other than 10, 5, 1; 10 for what shows nothing"},
		{400, "BadTopic", "the topic is malformed", "characters that no bundle id has"},
		{400, "DeviceTokenNotForTopic", "the token is another app's", "a topic other than the token was registered for"},
		{400, "DuplicateHeaders", "a header came twice", "a header that came twice"},
		{400, "IdleTimeout", "the connection was idle for too long", "APNsOptions.IdleAfter"},
		{400, "InvalidPushType", "the push type is none", "a push type that Apple does not name"},
		{400, "MissingDeviceToken", "the path has no token", "the path /3/device/"},
		{400, "MissingTopic", "the topic is missing", "no apns-topic header"},
		{400, "PayloadEmpty", "the body is empty", "an empty body, or one that is no JSON"},
		{400, "TopicDisallowed", "the sender may not push to the topic", "AllowTopic for another team; a certificate's other topics"},
		{403, "BadCertificate", "the certificate is none of Apple's", "a client certificate that NewCertificate did not make"},
		{403, "BadCertificateEnvironment", "the certificate is for the other environment", "NewCertificate for the other environment"},
		{403, "BadEnvironmentKeyIdInToken", "the key is for the other environment", "RestrictKey to the other environment"},
		{403, "BadEnvironmentKeyInToken", "the same, as it was seen", ""},
		{403, "ExpiredProviderToken", "the provider token is too old", "a token of more than an hour; all later ones on that connection"},
		{403, "Forbidden", "the team may not do this", "BlockTeam"},
		{403, "InvalidProviderToken", "the provider token is not valid", "a wrong signature, key id, team or time; a second team on a connection"},
		{403, "MissingProviderToken", "there is no provider token", "no authorization header and no client certificate"},
		{403, "UnrelatedKeyIdInToken", "another key began the connection", "a second key of a team on a connection"},
		{404, "BadPath", "the path is not /3/device/<token>", "any other path"},
		{405, "MethodNotAllowed", "the method is not POST", "any other method"},
		{410, "ExpiredToken", "the token has expired", "Expire"},
		{410, "Unregistered", "the app is gone from the phone", "Unregister, Uninstall, RotateToken"},
		{413, "PayloadTooLarge", "the body is too large", "a body of more than 4,096 bytes; 5,120 for voip"},
		{429, "TooManyProviderTokenUpdates", "the team signs too often", "a second token of a team within 20 minutes"},
		{429, "TooManyRequests", "too many for one token", "APNsOptions.DevicePerSecond"},
		{500, "InternalServerError", "an error at Apple", "SetWeather"},
		{503, "ServiceUnavailable", "the service is out", "SetWeather"},
		{503, "Shutdown", "the server is leaving", "ShutDown"},
	}
}

// FCMReasons are the error codes that Google documents, and answers that carry
// none. [Reject] scripts any of them.
// https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
func FCMReasons() []Reason {
	return []Reason{
		{400, "INVALID_ARGUMENT", "the message is malformed, or the token is none", "a field with a wrong value; too large; a token that nobody registered"},
		{401, "THIRD_PARTY_AUTH_ERROR", "the credential for Apple or for web push is wrong", "BreakPartner for the token's platform"},
		{401, "", "the OAuth token is not valid", "a token that is none, or has expired"},
		{403, "SENDER_ID_MISMATCH", "the token is another project's", "RegisterForeign"},
		{403, "", "the account may not send", "Deny"},
		{404, "UNREGISTERED", "the app is gone from the phone", "Unregister, Uninstall, RotateToken"},
		{404, "", "there is no such project or path", "any other project; HTML for any other path"},
		{429, "QUOTA_EXCEEDED", "too many messages", "FCMOptions.ProjectPerMinute and DevicePerMinute"},
		{500, "INTERNAL", "an error at Google", "SetWeather"},
		{503, "UNAVAILABLE", "the service is overloaded", "SetWeather"},
		{400, "UNSPECIFIED_ERROR", "nothing more is known", ""},
	}
}

// WebPushReasons are the answers of browsers' push services by status; their
// texts differ, and nothing depends on them. [Reject] scripts any of them.
func WebPushReasons() []Reason {
	return []Reason{
		{400, "bad request", "a header is missing or malformed", "TTL, Urgency, Topic or Content-Encoding is wrong"},
		{401, "no VAPID", "the VAPID token is missing", "no Authorization header; another key, at Mozilla"},
		{403, "VAPID refused", "the VAPID token is not valid", "a wrong audience, expiry, subject, signature; another key, at Google"},
		{404, "no such subscription", "there is no such subscription", "an endpoint that nobody made; Unsubscribe with 404"},
		{406, "throttled", "too many messages, at Microsoft", ""},
		{410, "gone", "the subscription has ended", "Unsubscribe, Uninstall, RotateToken, pushes that show nothing"},
		{413, "too large", "the body is too large", "a body of more than 4,096 bytes"},
		{429, "too many requests", "too many messages", ""},
		{500, "internal error", "an error at the service", "SetWeather"},
		{503, "unavailable", "the service is out", "SetWeather"},
	}
}
