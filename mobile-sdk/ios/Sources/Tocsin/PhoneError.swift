import Foundation

/// Why something did not work, by what the app can do about it.
///
/// Compare ``remedy`` first and ``reason`` where more is needed; ``message`` is
/// for people and changes.
public struct PhoneError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What the app can do.
    public enum Remedy: Sendable, Equatable {
        /// The credential is gone: the person is signed out. Ask to enrol again; the
        /// library has forgotten everything already.
        case signIn
        /// The link is unknown, used, or over ten minutes old. Ask for a new one.
        case newLink
        /// It cannot be done from here: open the app, and do it there.
        case openApp
        /// The person's role does not allow it. Say so.
        case deny
        /// A mistake of the app: ``PhoneError/fields`` says what to mend. Repeating it cannot help.
        case fix
        /// Something stands in the way: say what, and read the incident again.
        case refresh
        /// Something changed meanwhile. Read the incident again, show what changed, let the person decide.
        case decide
        /// It is not there. Take it off the list.
        case remove
        /// The cursor of a watch is over 24 hours old. List again.
        case listAgain
        /// The server is busy or out. Repeat with the same ids, after so many seconds at least.
        case wait(TimeInterval)
        /// There was no answer, or one that makes no sense. Repeat with the same ids; show ``PhoneError/requestID`` where there is one.
        case retry
        /// Nobody has unlocked the phone since it was started, so keys cannot be read. Try again when it is unlocked.
        case unlock
        /// The phone's storage is full or broken. Tell the person: nothing can be kept.
        case freeSpace
    }

    public let remedy: Remedy
    /// The reason in the API's words, as `REVISION_MOVED`, or one of the library's own: ``noAnswer``, ``unreadable``,
    /// ``notEnrolled``, ``locked``, ``storage``, ``link``.
    public let reason: String
    /// For people and logs; it changes.
    public let message: String
    /// What to mend, where the request was wrong.
    public var fields: [Field] = []
    /// What the server's log calls the call.
    public var requestID: String?
    /// The status of the answer; nil when there was none.
    public var status: Int?
    /// Values that belong to the reason.
    public var metadata: [String: String] = [:]

    /// One field of a request that was wrong.
    public struct Field: Sendable, Equatable {
        public let name: String
        public let description: String
    }

    /// The server could not be reached, or did not answer in time.
    public static let noAnswer = "NO_ANSWER"
    /// What answered is not the server: the sign-in page of a hotel, a proxy.
    public static let unreadable = "ANSWER_UNREADABLE"
    /// There is no credential.
    public static let notEnrolled = "NOT_ENROLLED"
    /// Keys cannot be read before the first unlock.
    public static let locked = "LOCKED"
    /// The phone's storage is full or broken.
    public static let storage = "STORAGE"
    /// The text is no enrolment link.
    public static let link = "LINK_INVALID"

    public var description: String {
        var text = reason + ": " + message
        if let requestID { text += " (request \(requestID))" }
        return text
    }

    /// Whether the same call, with the same ids, may succeed later.
    public var isTemporary: Bool {
        switch remedy {
        case .wait, .retry, .unlock: return true
        default: return false
        }
    }

    /// How long the server asks to wait, in seconds.
    var pause: TimeInterval {
        if case .wait(let seconds) = remedy { return seconds }
        return 0
    }
}

extension PhoneError {
    init(_ remedy: Remedy, _ reason: String, _ message: String) {
        self.remedy = remedy
        self.reason = reason
        self.message = message
    }

    static func noAnswer(_ error: any Error) -> PhoneError {
        PhoneError(.retry, noAnswer, "the server could not be reached: \(error.localizedDescription)")
    }

    static func unreadable(status: Int) -> PhoneError {
        var error = PhoneError(.retry, unreadable, "what answered is not the server (status \(status))")
        error.status = status
        return error
    }

    static let nobody = PhoneError(.signIn, notEnrolled, "this phone is not enrolled")

    static func stored(_ error: any Error, _ what: String) -> PhoneError {
        if let error = error as? PhoneError { return error }
        return PhoneError(.freeSpace, storage, "\(what): \(error)")
    }

    /// An answer that says no: `google.rpc.Status`, or whatever a proxy wrote, whose status alone decides.
    ///
    /// - Parameter retryAfter: the header, in seconds.
    init(status: Int, body: Data, requestID: String?, retryAfter: TimeInterval?) {
        let answer = (try? JSON(body)) ?? JSON(.null)
        self.init(rpc: answer, status: status, requestID: requestID, retryAfter: retryAfter)
    }

    /// A `google.rpc.Status` as a stream ends with it.
    init(endOfStream answer: JSON) {
        // The gateway's own status for the codes by which a server ends a stream.
        let statuses: [Int64: Int] = [3: 400, 5: 404, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 14: 503, 16: 401]
        self.init(rpc: answer, status: statuses[answer["code"].int] ?? 500, requestID: nil, retryAfter: nil)
        status = nil
    }

    private init(rpc answer: JSON, status: Int, requestID: String?, retryAfter: TimeInterval?) {
        func detail(_ type: String) -> JSON {
            answer["details"].array.first { $0["@type"].string.hasSuffix("google.rpc." + type) } ?? JSON(.null)
        }
        let info = detail("ErrorInfo")
        let metadata = (info["metadata"].object ?? [:]).mapValues(\.string)
        let wait = max(retryAfter ?? 0, detail("RetryInfo")["retryDelay"].seconds ?? 0)
        self.init(
            PhoneError.remedy(status, code: answer["code"].int, info["reason"].string, reopen: metadata["reopen"] == "true", wait: wait),
            info["reason"].text ?? (answer["code"].isNull ? PhoneError.unreadable : "STATUS_\(status)"),
            answer["message"].text ?? "the server answered with status \(status)")
        self.metadata = metadata
        self.status = status
        self.requestID = requestID ?? detail("RequestInfo")["requestId"].text
        fields = detail("BadRequest")["fieldViolations"].array.map { Field(name: $0["field"].string, description: $0["description"].string) }
    }

    /// The table of mobile-sdk/README.md, 6.
    private static func remedy(_ status: Int, code: Int64, _ reason: String, reopen: Bool, wait: TimeInterval) -> Remedy {
        switch (status, reason) {
        case _ where reopen: return .openApp
        case (_, "CREDENTIAL_INVALID"): return .signIn
        case (_, "ENROLMENT_CODE"): return .newLink
        case (_, "CURSOR_TOO_OLD"): return .listAgain
        case (403, _): return .deny
        case (404, _): return .remove
        case (409, _): return .decide
        case _ where code == 9: return .refresh
        case (429, _), (503, _): return .wait(wait)
        case (408, _), (500..., _): return .retry
        // A redirect, or another success than 200: what answers is not the server.
        case (..<400, _): return .retry
        default: return .fix
        }
    }
}
