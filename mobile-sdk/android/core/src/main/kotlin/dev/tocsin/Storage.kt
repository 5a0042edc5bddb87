// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import com.google.protobuf.InvalidProtocolBufferException
import com.google.protobuf.MessageLite
import com.google.protobuf.Parser
import java.io.File
import java.io.FileNotFoundException
import java.io.FileOutputStream
import java.io.IOException
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import java.nio.file.StandardOpenOption

/**
 * Where the library keeps what has to outlive the process: a handful of small files.
 * Used by several threads, one at a time for each name.
 */
public interface Storage {
    /** What was written last under [name], or null. Throws [LockedException] before the first unlock, and [IOException]. */
    @Throws(IOException::class)
    public fun read(name: String): ByteArray?

    /**
     * Keeps [content] under [name]. When it returns, a process that is killed in the next instant finds it;
     * when it throws, what was there before is there still: the disk is full, or locked ([LockedException]).
     */
    @Throws(IOException::class)
    public fun write(name: String, content: ByteArray)

    /** Forgets [name]; one that is not there is no error. */
    @Throws(IOException::class)
    public fun delete(name: String)
}

/** It cannot be read before the phone is unlocked for the first time since it was started. */
public class LockedException(message: String) : IOException(message)

/** A [Storage] of files in [directory], which is made when it is needed. */
public class FileStorage(private val directory: File) : Storage {
    override fun read(name: String): ByteArray? =
        try {
            File(directory, name).readBytes()
        } catch (_: FileNotFoundException) {
            null
        }

    override fun write(name: String, content: ByteArray) {
        Files.createDirectories(directory.toPath())
        val next = File(directory, "$name.next")
        try {
            FileOutputStream(next).use {
                it.write(content)
                it.fd.sync() // a rename that gets to the disk before the content leaves an empty file
            }
            Files.move(next.toPath(), File(directory, name).toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
        } catch (e: IOException) {
            next.delete()
            throw e
        }
        syncDirectory()
    }

    override fun delete(name: String) {
        if (Files.deleteIfExists(File(directory, name).toPath())) syncDirectory()
    }

    // The name itself is on the disk once its directory is.
    private fun syncDirectory() {
        try {
            FileChannel.open(directory.toPath(), StandardOpenOption.READ).use { it.force(true) }
        } catch (_: IOException) {
            // Some systems open no directory; there the rename is all that can be had.
        }
    }
}

/** One message under one name. Every change is in the storage before anybody acts on it. */
internal class Kept<M : MessageLite>(
    private val storage: Storage,
    private val name: String,
    private val none: M,
    private val parser: Parser<M>,
) {
    @Synchronized
    fun get(): M {
        val bytes = storage.read(name) ?: return none
        return try {
            parser.parseFrom(bytes)
        } catch (_: InvalidProtocolBufferException) {
            none // written by no version of ours; keeping it would stop the phone for good
        }
    }

    /** Throws [IOException] when it cannot be kept; nothing has changed then. */
    @Synchronized
    fun change(how: (M) -> M): M {
        val before = get()
        val after = how(before)
        if (after != before) storage.write(name, after.toByteArray())
        return after
    }

    @Synchronized
    fun clear() = storage.delete(name)
}
