// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import dev.tocsin.Storage
import java.io.IOException
import java.util.UUID

/**
 * What the server is still to be told of this phone, and where Firebase reaches it. It is on the [disk]; what a full
 * one does not take lives as long as the process.
 */
internal class Untold(private val disk: Storage) {
    private val unkept = HashMap<String, String>()

    /** The app's token, as Firebase said last; null before. */
    @get:Synchronized
    @set:Synchronized
    var token: String?
        get() = read(TOKEN)
        set(value) = write(TOKEN, value)

    /** Something has changed: it is another wish, so that a call under way does not grant it. */
    @Synchronized
    fun add() = write(WISH, UUID.randomUUID().toString())

    /** The wish that waits, or null. */
    @Synchronized
    fun wish(): String? = read(WISH)

    /** [wish] was told, or never will be as it is. One that came meanwhile stays. */
    @Synchronized
    fun told(wish: String) {
        if (read(WISH) == wish) write(WISH, null)
    }

    private fun read(name: String): String? = unkept[name] ?: try {
        disk.read(name)?.let { String(it) }
    } catch (_: IOException) {
        null // it is read the next time
    }

    private fun write(name: String, value: String?) {
        unkept.remove(name)
        try {
            if (value == null) disk.delete(name) else disk.write(name, value.toByteArray())
        } catch (_: IOException) {
            if (value != null) unkept[name] = value // what cannot be forgotten is told once more
        }
    }

    private companion object {
        const val TOKEN = "token"
        const val WISH = "register"
    }
}
