import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Carries requests to the server. ``HTTPTransport`` is the real one; tests bring their own.
public protocol Transport: Sendable {
    /// The parts of the answer as they come. The stream throws when there is no
    /// answer or its end is missing; ending the iteration cancels the request.
    func stream(_ request: URLRequest) -> AsyncThrowingStream<AnswerPart, any Error>
}

/// A part of an answer: first the head, then bytes.
public enum AnswerPart: Sendable {
    /// Names of headers are in lower case.
    case head(status: Int, headers: [String: String])
    case bytes(Data)
}

/// HTTP by URLSession.
///
/// Redirects are not followed: the server's address was pinned when the phone
/// enrolled, and the credential goes nowhere else. Nothing is cached.
public final class HTTPTransport: Transport {
    private let session: URLSession
    private let tasks = Tasks()

    public init() {
        let configuration = URLSessionConfiguration.ephemeral
        configuration.requestCachePolicy = .reloadIgnoringLocalCacheData
        configuration.httpShouldSetCookies = false
        configuration.httpMaximumConnectionsPerHost = 4
        // One callback at a time, so that parts stay in order.
        let queue = OperationQueue()
        queue.maxConcurrentOperationCount = 1
        session = URLSession(configuration: configuration, delegate: tasks, delegateQueue: queue)
    }

    deinit { session.invalidateAndCancel() }

    public func stream(_ request: URLRequest) -> AsyncThrowingStream<AnswerPart, any Error> {
        AsyncThrowingStream { parts in
            let task = session.dataTask(with: request)
            tasks.add(task.taskIdentifier, parts)
            parts.onTermination = { _ in task.cancel() }
            task.resume()
        }
    }
}

/// Hands what the session says to whoever waits for it.
private final class Tasks: NSObject, URLSessionDataDelegate, Sendable {
    typealias Parts = AsyncThrowingStream<AnswerPart, any Error>.Continuation
    private let waiting = Locked<[Int: Parts]>([:])
    private let begun = Locked<Set<Int>>([])

    func add(_ task: Int, _ parts: Parts) {
        waiting.with { $0[task] = parts }
    }

    func urlSession(_: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        begin(dataTask)?.yield(.bytes(data))
    }

    func urlSession(_: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        let parts = error == nil ? begin(task) : waiting.with { $0[task.taskIdentifier] }
        parts?.finish(throwing: error)
        waiting.with { _ = $0.removeValue(forKey: task.taskIdentifier) }
        begun.with { _ = $0.remove(task.taskIdentifier) }
    }

    /// Whoever waits for the task, after the head of the answer.
    private func begin(_ task: URLSessionTask) -> Parts? {
        let parts = waiting.with { $0[task.taskIdentifier] }
        guard begun.with({ $0.insert(task.taskIdentifier).inserted }), let response = task.response as? HTTPURLResponse else { return parts }
        var headers: [String: String] = [:]
        for (name, value) in response.allHeaderFields {
            headers["\(name)".lowercased()] = "\(value)"
        }
        parts?.yield(.head(status: response.statusCode, headers: headers))
        return parts
    }

    // A redirect is answered by itself, with its own status.
    #if canImport(FoundationNetworking)
        func urlSession(
            _: URLSession, task _: URLSessionTask, willPerformHTTPRedirection _: HTTPURLResponse, newRequest _: URLRequest,
            completionHandler: @escaping (URLRequest?) -> Void
        ) {
            completionHandler(nil)
        }
    #else
        func urlSession(
            _: URLSession, task _: URLSessionTask, willPerformHTTPRedirection _: HTTPURLResponse, newRequest _: URLRequest
        ) async -> URLRequest? {
            nil
        }
    #endif
}
