//! Buffers, submissions and what comes back: the part that talks to the device.
//!
//! There is a slot for each step in flight, with its own windows, hits and copy of the hits for
//! the host. The rows have one buffer: the device's queue keeps writes and steps in their order.

use super::device::Device;
use super::layout::{COLUMN_VECTORS, IN_FLIGHT, ROW_FIELDS, SLICE_COLUMNS, WINDOW_HEAD};
use super::prepare;
use crate::kernel::lanes::CHUNK_ROWS;
use crate::kernel::schedule::Column;
use crate::kernel::{GpuError, Schedules, Tuning, Work};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes before the first place of a hit: the count, padded to the alignment of a place.
const HITS_HEAD: u64 = 8;

/// Places of hits that are copied to the host with every step. More than that is rare and
/// fetched when it happens.
const USUAL_HITS: u64 = 1023;

/// One more than [`IN_FLIGHT`]: a step may be repeated while others are in flight.
const SLOTS: usize = IN_FLIGHT + 1;

/// A device's buffers.
pub(super) struct Engine {
    name: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipeline: wgpu::ComputePipeline,
    complaint: Arc<Mutex<Option<String>>>,
    tuning: Tuning,
    preparation: Preparation,
    slots: Vec<Slot>,
    /// Slots that no step is using.
    free: Vec<usize>,
    /// The windows of the step that is being prepared, in the device's layout.
    windows: Vec<u32>,
}

/// What prepares rows.
struct Preparation {
    pipeline: wgpu::ComputePipeline,
    uniform: wgpu::Buffer,
    bindings: wgpu::BindGroup,
}

struct Slot {
    windows: wgpu::Buffer,
    hits: wgpu::Buffer,
    for_host: wgpu::Buffer,
    bindings: wgpu::BindGroup,
}

/// A step that was submitted.
pub(super) struct Pending {
    slot: usize,
    mapped: Mapped,
}

/// Tells when a buffer can be read.
type Mapped = Receiver<Result<(), wgpu::BufferAsyncError>>;

impl Engine {
    pub fn new(device: &Device) -> Result<Self, GpuError> {
        let tuning = device.tuning;
        let rows = tuning.rows.next_multiple_of(CHUNK_ROWS as u32);
        let row_bytes = u64::from(rows) * ROW_FIELDS as u64 * 4;
        let make = |bytes: u64, usage| {
            device.handle.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: bytes,
                usage,
                mapped_at_creation: false,
            })
        };
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let row_buffer = make(row_bytes, storage);
        let uniform = make(
            4 * prepare::WORDS as u64,
            wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        );
        let preparation = Preparation {
            pipeline: device.preparation.clone(),
            bindings: device.handle.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &device.preparation.get_bind_group_layout(0),
                entries: &[
                    wgpu::BindGroupEntry {
                        binding: 0,
                        resource: uniform.as_entire_binding(),
                    },
                    wgpu::BindGroupEntry {
                        binding: 1,
                        resource: row_buffer.as_entire_binding(),
                    },
                ],
            }),
            uniform,
        };
        let layout = device.pipeline.get_bind_group_layout(0);
        let slot = || {
            let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            let usage = match tuning.schedules {
                Schedules::Uniform => uniform,
                Schedules::Storage => storage,
            };
            let window_bytes = tuning.window_bytes() as u64;
            let windows = make(u64::from(tuning.windows()) * window_bytes, usage);
            // Room for a hit in every row: see `GpuKernel::one_by_one`.
            let hits_bytes = HITS_HEAD + 8 * u64::from(rows).max(USUAL_HITS);
            let hits = make(hits_bytes, storage | wgpu::BufferUsages::COPY_SRC);
            let reading = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            let for_host = make(HITS_HEAD + 8 * USUAL_HITS, reading);
            let bindings = device.handle.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &layout,
                entries: &[
                    wgpu::BindGroupEntry {
                        binding: 0,
                        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer: &windows,
                            offset: 0,
                            size: wgpu::BufferSize::new(window_bytes),
                        }),
                    },
                    wgpu::BindGroupEntry {
                        binding: 1,
                        resource: row_buffer.as_entire_binding(),
                    },
                    wgpu::BindGroupEntry {
                        binding: 2,
                        resource: hits.as_entire_binding(),
                    },
                ],
            });
            Slot {
                windows,
                hits,
                for_host,
                bindings,
            }
        };
        let slots = std::iter::repeat_with(slot).take(SLOTS).collect();
        let engine = Self {
            name: device.info.name.clone(),
            device: device.handle.clone(),
            queue: device.queue.clone(),
            pipeline: device.pipeline.clone(),
            complaint: Arc::clone(&device.complaint),
            tuning,
            preparation,
            slots,
            free: (0..SLOTS).collect(),
            windows: Vec::new(),
        };
        engine.check()?;
        Ok(engine)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the work is cut.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// Has the steps submitted from here on work on `rows` rows from `first_row` on.
    pub fn load_rows(&mut self, work: &Work, first_row: u64, rows: u32) {
        let uniform = prepare::uniform(work, first_row);
        let preparation = &self.preparation;
        self.queue
            .write_buffer(&preparation.uniform, 0, bytemuck::cast_slice(&uniform));
        let mut encoder = self
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&preparation.pipeline);
            pass.set_bind_group(0, &preparation.bindings, &[]);
            pass.dispatch_workgroups(rows.div_ceil(CHUNK_ROWS as u32), 1, 1);
        }
        self.queue.submit([encoder.finish()]);
    }

    /// Starts a step: these columns, the first of which is `first_column`, for the first `rows`
    /// rows loaded.
    pub fn submit(
        &mut self,
        columns: impl Iterator<Item = Column>,
        first_column: u32,
        rows: u32,
        span: u32,
    ) -> Result<Pending, GpuError> {
        let columns = self.lay_out(columns, first_column, rows, span);
        let Some(index) = self.free.pop() else {
            unreachable!("there are more slots than steps in flight")
        };
        let slot = &self.slots[index];
        self.queue
            .write_buffer(&slot.windows, 0, bytemuck::cast_slice(&self.windows));
        let mut encoder = self
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(&slot.hits, 0, Some(HITS_HEAD));
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&self.pipeline);
            let group_rows = self.tuning.workgroup * self.tuning.rows_per_invocation;
            let (groups, window_columns) =
                (rows.div_ceil(group_rows), self.tuning.window_columns());
            for window in 0..columns.div_ceil(window_columns) {
                let slices = columns - window * window_columns;
                let slices = slices.min(window_columns).div_ceil(SLICE_COLUMNS);
                let offset = window * self.tuning.window_bytes() as u32;
                pass.set_bind_group(0, &slot.bindings, &[offset]);
                pass.dispatch_workgroups(groups, slices, 1);
            }
        }
        encoder.copy_buffer_to_buffer(&slot.hits, 0, &slot.for_host, 0, slot.for_host.size());
        self.queue.submit([encoder.finish()]);
        let mapped = request_map(&slot.for_host);
        self.check()?;
        Ok(Pending {
            slot: index,
            mapped,
        })
    }

    /// Waits for a step; its hits as pairs of row and column, or `None` if they were too many.
    pub fn read(&mut self, pending: Pending) -> Result<Option<Vec<[u32; 2]>>, GpuError> {
        let Pending { slot, mapped } = pending;
        self.free.push(slot);
        let slot = &self.slots[slot];
        let (count, mut hits) = self.take_mapped(&mapped, &slot.for_host)?;
        if u64::from(count) <= USUAL_HITS {
            return Ok(Some(hits));
        }
        let bytes = HITS_HEAD + 8 * u64::from(count);
        if bytes > slot.hits.size() {
            return Ok(None);
        }
        let all = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self
            .device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&slot.hits, 0, &all, 0, bytes);
        self.queue.submit([encoder.finish()]);
        (_, hits) = self.take_mapped(&request_map(&all), &all)?;
        Ok(Some(hits))
    }

    /// Waits for a step whose hits nobody wants.
    pub fn discard(&mut self, pending: Pending) -> Result<(), GpuError> {
        let Pending { slot, mapped } = pending;
        self.free.push(slot);
        self.take_mapped(&mapped, &self.slots[slot].for_host)
            .map(drop)
    }

    /// Fills `self.windows`; returns the number of columns.
    fn lay_out(
        &mut self,
        columns: impl Iterator<Item = Column>,
        first_column: u32,
        rows: u32,
        span: u32,
    ) -> u32 {
        const HEAD_WORDS: usize = WINDOW_HEAD / 4;
        const COLUMN_WORDS: usize = 4 * COLUMN_VECTORS;
        let window_columns = self.tuning.window_columns();
        let window_words = self.tuning.window_bytes() / 4;
        self.windows.clear();
        let mut count = 0;
        for column in columns {
            let (window, place) = (count / window_columns, count % window_columns);
            let start = window as usize * window_words;
            if place == 0 {
                self.windows.resize(start, 0);
                let head = [0, first_column + count, rows, span, 1, 0, 0, 0];
                self.windows.extend_from_slice(&head);
            }
            let at = start + HEAD_WORDS + place as usize * COLUMN_WORDS;
            self.windows.resize(at + COLUMN_WORDS, 0);
            self.windows[at..at + 64].copy_from_slice(&column.keyed);
            self.windows[at + 64] = column.block[13];
            self.windows[start] += 1;
            count += 1;
        }
        count
    }

    fn take_mapped(
        &self,
        mapped: &Mapped,
        buffer: &wgpu::Buffer,
    ) -> Result<(u32, Vec<[u32; 2]>), GpuError> {
        loop {
            match mapped.try_recv() {
                Ok(Ok(())) => break,
                Ok(Err(error)) => return Err(self.failed(&error.to_string())),
                Err(mpsc::TryRecvError::Disconnected) => return Err(self.failed("it went away")),
                Err(mpsc::TryRecvError::Empty) => {}
            }
            let wait = wgpu::PollType::wait_indefinitely();
            self.device
                .poll(wait)
                .map_err(|error| self.failed(&error.to_string()))?;
        }
        let view = buffer
            .get_mapped_range(..)
            .map_err(|error| self.failed(&error.to_string()))?;
        let words: &[u32] = bytemuck::cast_slice(&view);
        let count = words[0];
        let places = words[HITS_HEAD as usize / 4..].as_chunks::<2>().0;
        let hits = places[..places.len().min(count as usize)].to_vec();
        drop(view);
        buffer.unmap();
        self.check()?;
        Ok((count, hits))
    }

    fn check(&self) -> Result<(), GpuError> {
        let complaint = self
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        complaint
            .clone()
            .map_or(Ok(()), |words| Err(GpuError::Failed(words)))
    }

    fn failed(&self, fallback: &str) -> GpuError {
        self.check()
            .err()
            .unwrap_or_else(|| GpuError::Failed(fallback.to_owned()))
    }
}

fn request_map(buffer: &wgpu::Buffer) -> Mapped {
    let (sender, receiver) = mpsc::channel();
    buffer.map_async(wgpu::MapMode::Read, .., move |result| {
        // The receiver goes only when the kernel does, and then nobody wants to know.
        let _ = sender.send(result);
    });
    receiver
}
