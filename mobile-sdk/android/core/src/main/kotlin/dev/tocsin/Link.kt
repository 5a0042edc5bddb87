// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import java.net.URI
import java.net.URISyntaxException

/**
 * Where a tocsin server is: scheme, host and port, and nothing else. It comes out of an enrolment link and
 * is pinned; a push never names another.
 */
public class Origin private constructor(internal val secure: Boolean, internal val host: String, internal val port: Int) {
    override fun toString(): String {
        val scheme = if (secure) "https" else "http"
        return if (port == if (secure) 443 else 80) "$scheme://$host" else "$scheme://$host:$port"
    }

    override fun equals(other: Any?): Boolean = other is Origin && other.toString() == toString()

    override fun hashCode(): Int = toString().hashCode()

    public companion object {
        /**
         * Reads `https://host` or `https://host:port`; whatever follows is left out. Without TLS it is taken on
         * this machine only, which is for tests. Throws [IllegalArgumentException], with what is wrong.
         */
        @JvmStatic
        public fun parse(text: String): Origin {
            val uri = try {
                URI(text.trim())
            } catch (e: URISyntaxException) {
                throw IllegalArgumentException("this is no link: ${e.reason}")
            }
            val scheme = uri.scheme?.lowercase()
            require(scheme == "https" || scheme == "http") { "a server's address begins with https://" }
            val host = requireNotNull(uri.host) { "the link names no server" }.lowercase()
            require(uri.userInfo == null) { "a server's address has no user in it" }
            require(scheme == "https" || host in LOOPBACK) { "a server is reached by https; $host was given without" }
            require(uri.port in -1..65535 && uri.port != 0) { "there is no port ${uri.port}" }
            val port = if (uri.port > 0) uri.port else if (scheme == "https") 443 else 80
            return Origin(scheme == "https", host, port)
        }

        // 10.0.2.2 is the machine that an emulator of Android runs on.
        private val LOOPBACK = setOf("localhost", "127.0.0.1", "[::1]", "10.0.2.2")
    }
}

/** The link by which a phone becomes somebody's, good for ten minutes and one use. */
public class EnrolmentLink private constructor(public val origin: Origin, internal val code: String) {
    /** Without the code, which is a secret. */
    override fun toString(): String = "$origin/enrol"

    public companion object {
        /** Reads `https://host/enrol#code`, as a tap or a QR code gives it. Throws [IllegalArgumentException], with what is wrong. */
        @JvmStatic
        public fun parse(text: String): EnrolmentLink {
            val origin = Origin.parse(text)
            val uri = URI(text.trim())
            require(uri.path.orEmpty().trimEnd('/').endsWith("/enrol")) { "this is no enrolment link: its path is not /enrol" }
            val code = uri.fragment.orEmpty()
            require(code.length in 16..128) { "the link is cut short: its code is missing; ask for a new one" }
            return EnrolmentLink(origin, code)
        }
    }
}
