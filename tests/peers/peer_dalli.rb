# frozen_string_literal: true

# peer_dalli.rb - the servers that dalli tries; request.h has the words that it
# is asked with.
#
# Ring, points and names of servers are the client's own, made from the strings
# that a program would give it.  alive? is ours: it notes the server, and says
# no where the server is down, so that the next one is tried.  When storing all
# is the client's.
#
# set namespace TEXT	to store
require 'dalli'
require 'logger'

Dalli.logger = Logger.new($stderr)

# What becomes of a server.
module Witness
  TRIED = []

  class << self
    attr_accessor :answers
  end

  attr_accessor :slot, :down

  def alive?
    TRIED << slot
    Witness.answers && !down
  end
end

# What has been asked so far.
class Peer
  NOBODY = 0xffff

  def initialize
    @keys = []
    forget
  end

  def forget
    @servers = []
    @down = []
    @ring = nil
    @client = nil
    @namespace = nil
  end

  def set(word, value)
    @namespace = value if word == 'namespace'
  end

  def read_keys(path)
    all = File.binread(path)
    @keys = []
    at = 0
    while at < all.bytesize
      len = all.byteslice(at, 2).unpack1('v')
      @keys << all.byteslice(at + 2, len)
      at += 2 + len
    end
  end

  def server(host, port, weight, _name)
    @servers << if host.start_with?('/')
                  "#{host}:#{weight}"
                elsif host.include?(':')
                  "[#{host}]:#{port}:#{weight}"
                else
                  "#{host}:#{port}:#{weight}"
                end
  end

  def down(slot)
    @down << Integer(slot)
  end

  def build
    servers = @servers.each_with_index.map do |text, i|
      one = Dalli::Protocol::Binary.new(text, {})
      one.extend(Witness)
      one.slot = i
      one.down = @down.include?(i)
      one
    end
    Dalli::Ring.new(servers, { threadsafe: false })
  end

  # One try: where the key ends.  More: all that would be tried, were all down.
  def ask(from, count, tries)
    @ring ||= build
    Witness.answers = tries == 1
    answer = []
    @keys[from, count].each { |key| answer.concat(tries_of(key, tries)) }
    answer.pack('v*')
  end

  def store(from, count)
    @client ||= Dalli::Client.new(@servers, { down_retry_delay: 86_400,
                                              namespace: @namespace })
    stored = @keys[from, count].map do |key|
      @client.set(key, '1', 0, raw: true) ? 1 : 0
    rescue Dalli::DalliError
      0
    end
    stored.pack('v*')
  end

  def tries_of(key, tries)
    Witness::TRIED.clear
    begin
      got = @ring.server_for_key(key)
      return [got.slot] if tries == 1
    rescue Dalli::RingError
      return [NOBODY] if tries == 1
    end
    tried = Witness::TRIED.first(tries)
    tried + [NOBODY] * (tries - tried.size)
  end
end

peer = Peer.new
$stdout.binmode
$stdout.sync = true
while (line = $stdin.gets)
  word, *rest = line.chomp.split
  case word
  when 'new' then peer.forget
  when 'keys' then peer.read_keys(rest[0])
  when 'set' then peer.set(*rest)
  when 'server' then peer.server(*rest)
  when 'down' then peer.down(rest[0])
  when 'ask' then $stdout.write(peer.ask(*rest.map { |n| Integer(n) }))
  when 'store' then $stdout.write(peer.store(*rest.map { |n| Integer(n) }))
  else abort "not understood: #{line}"
  end
end
