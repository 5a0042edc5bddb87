import Foundation

/// An enrolment link, as somebody opened or scanned it: `https://<server>/enrol#<code>`.
///
/// The server of the link is the one that the phone keeps to; no push can name another.
public struct Invitation: Sendable, Equatable {
    /// Where the server is.
    public let server: URL
    let code: String

    /// Throws ``PhoneError/link`` for any other text. Plain HTTP is taken from this machine only, for tests.
    public init(_ text: String) throws(PhoneError) {
        guard let parts = URLComponents(string: text.trimmingCharacters(in: .whitespacesAndNewlines)),
            let host = parts.host, !host.isEmpty, parts.user == nil, parts.password == nil, parts.query == nil
        else { throw Self.invalid }
        let scheme = parts.scheme?.lowercased()
        let isLoopback = ["localhost", "127.0.0.1", "[::1]", "::1"].contains(host)
        guard scheme == "https" || (scheme == "http" && isLoopback), parts.path.hasSuffix("/enrol"),
            let code = parts.fragment, (16...128).contains(code.count)
        else { throw Self.invalid }
        var server = parts
        server.fragment = nil
        server.path = String(parts.path.dropLast("/enrol".count))
        guard let url = server.url else { throw Self.invalid }
        self.server = url
        self.code = code
    }

    private static let invalid = PhoneError(
        .newLink, PhoneError.link, "this is no enrolment link; one looks like https://tocsin.example.com/enrol#…")
}

/// Whose phone it would become: show it, and ask.
public struct Welcome: Sendable, Equatable {
    /// The person's name.
    public let person: String
    /// The name of the installation.
    public let organization: String
    /// When the link stops working.
    public let expires: Date?

    init(_ json: JSON) {
        person = json["userDisplayName"].string
        organization = json["organization"].string
        expires = json["expireTime"].date
    }
}
